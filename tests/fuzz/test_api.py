"""Whatever the document lets a client send, and much that it does not: every answer keeps to the document."""

import os

import pytest
from django.test import override_settings

from shop import inbox
from shop.database import hosted
from tests.fuzz.attack import FEW, Report, attack, run
from tests.fuzz.world import World, anonymous
from tests.orders.clockwork import run_until_idle

CASES = int(os.environ.get("FUZZ_CASES") or 200)
SEED = int(os.environ.get("FUZZ_SEED") or 1)


def parked() -> int:
    return sum(len(inbox.parked(context, limit=10_000)) for context in hosted())


def test_generated_requests_find_nothing():
    run_until_idle()
    before = parked()
    report = attack(cases=CASES, seed=SEED, thorough=CASES >= 1000)
    print(f"\nFUZZ_SEED={SEED}: {report}")
    assert not report.findings, f"FUZZ_SEED={SEED}: {report}"
    assert report.cases >= CASES
    assert len(report.succeeded()) >= 15, "an attack that never gets past the door says little"
    run_until_idle()
    assert parked() == before, "what was accepted can also be handled"


@pytest.fixture(scope="module")
def planted(django_db_setup) -> Report:
    """What is found in an API with faults."""
    report = Report()
    with override_settings(ROOT_URLCONF="tests.fuzz.planted"):
        run(World(anonymous()), report, seed=SEED, phases=("coverage", "fuzzing"), examples=FEW)
    return report


FAULTS = [
    ("GET /api/v1/crash", "not_a_server_error"),
    ("GET /api/v1/crash", "declared_status"),
    ("GET /api/v1/teapot", "declared_status"),
    ("GET /api/v1/off-schema", "response_schema_conformance"),
    ("GET /api/v1/bare-error", "problem_headers"),
    ("GET /api/v1/bare-error", "content_type_conformance"),
    ("POST /api/v1/credulous", "negative_data_rejection"),
    ("POST /api/v1/picky", "positive_data_acceptance"),
    ("GET /api/v1/chatty", "no_insides"),
]


@pytest.mark.parametrize(("operation", "check"), FAULTS)
def test_a_planted_fault_is_found(planted, operation, check):
    assert (operation, check) in {(where, what) for where, what, _ in planted.findings}, str(planted)


def test_what_has_no_fault_is_left_alone(planted):
    assert [found for found in planted.findings if "sound" in found[0]] == []
