"""Generated requests, allowed by the document and not: every response follows the document."""

import os

import pytest
from django.test import override_settings

from shop.db.database import hosted_contexts
from shop.messaging import parking
from tests.engine_driver import run_until_idle
from tests.fuzz.attack import FEW_EXAMPLES, Report, attack, run
from tests.fuzz.world import CallerData, anonymous_caller

CASES = int(os.environ.get("FUZZ_CASES") or 200)
SEED = int(os.environ.get("FUZZ_SEED") or 1)


def count_parked() -> int:
    return sum(len(parking.list_parked(context, limit=10_000)) for context in hosted_contexts())


def test_generated_requests_find_nothing():
    run_until_idle()
    before = count_parked()
    report = attack(cases=CASES, seed=SEED, thorough=CASES >= 1000)
    print(f"\nFUZZ_SEED={SEED}: {report}")
    assert not report.findings, f"FUZZ_SEED={SEED}: {report}"
    assert report.cases >= CASES
    assert len(report.succeeded()) >= 15, "if requests never succeed, the test proves little"
    run_until_idle()
    assert count_parked() == before, "accepted requests can also be processed"


@pytest.fixture(scope="module")
def planted(django_db_setup) -> Report:
    """Return the findings in an API with planted faults."""
    report = Report()
    with override_settings(ROOT_URLCONF="tests.fuzz.planted"):
        run(CallerData(anonymous_caller()), report, seed=SEED, phases=("coverage", "fuzzing"), examples=FEW_EXAMPLES)
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
    ("GET /api/v1/chatty", "no_internal_details"),
]


@pytest.mark.parametrize(("operation", "check"), FAULTS)
def test_a_planted_fault_is_found(planted, operation, check):
    assert (operation, check) in {(operation, check) for operation, check, _ in planted.findings}, str(planted)


def test_an_operation_without_a_fault_has_no_finding(planted):
    assert [found for found in planted.findings if "sound" in found[0]] == []
