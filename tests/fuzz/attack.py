"""Requests made up from the OpenAPI document by schemathesis, sent in process, and what was wrong with the answers."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import schemathesis
from django.core.wsgi import get_wsgi_application
from schemathesis.core.failures import AcceptedNegativeData
from schemathesis.engine import events, from_schema

from tests.fuzz import rules
from tests.fuzz.links import linked, with_one_source
from tests.fuzz.world import CALLERS, DRAWN, World, world
from tests.users.people import fresh_address

DOCUMENT = "/api/schema?format=json"
FEW, MANY = 2, 8  # generated requests an operation and round; several times as many for what has most to get wrong
ACCEPTED = ["2xx", "3xx", "401", "402", "403", "404", "409", "422", "429"]
# Where a body can be right by its schema and wrong by a rule that no schema says: a cart and items, a weak password,
# a cursor of another list.
MORE_RULES = ["POST /api/v1/orders", "POST /api/v1/auth/register", "GET /api/v1/products", "GET /api/v1/categories",
              "GET /api/v1/orders", "GET /api/v1/notifications"]  # fmt: skip


@dataclass
class Report:
    """How many cases were tried, how they were answered, and what was found."""

    cases: int = 0
    answers: Counter = field(default_factory=Counter)
    findings: dict[tuple[str, str, str], str] = field(default_factory=dict)

    def succeeded(self) -> set[str]:
        """The operations that were carried out at least once."""
        return {operation for operation, status in self.answers if status < 400}

    def __str__(self) -> str:
        by_status = Counter()
        for (_, status), number in self.answers.items():
            by_status[status] += number
        statuses = ", ".join(f"{status}: {number}" for status, number in sorted(by_status.items()))
        found = "".join(f"\n{operation}: {check}: {title}\n{how}" for (operation, check, title), how in self.findings.items())
        return f"{self.cases} cases ({statuses}), {len(self.findings)} findings{found}"


def attack(*, cases: int, seed: int, thorough: bool) -> Report:
    """Rounds of requests by every caller, each with a seed of its own, until so many were made.

    The same seed makes the same requests, up to ids. thorough: the first round also enumerates the edges of every
    parameter (coverage), and each has more requests.
    """
    report = Report()
    phases = ("coverage", "fuzzing", "stateful") if thorough else ("fuzzing", "stateful")
    for round_seed in count(seed):
        for role in CALLERS:
            run(world(role), report, seed=round_seed, phases=phases, examples=MANY if thorough else FEW)
        if report.cases >= cases or report.findings:
            return report
        phases = ("fuzzing", "stateful")
    raise AssertionError("rounds do not end by themselves")


def run(caller: World, report: Report, *, seed: int, phases: tuple[str, ...], examples: int) -> None:
    """One caller's round: what was found goes into the report."""
    config = schemathesis.Config.from_dict(_config(caller, seed=seed, phases=phases, examples=examples))
    application = at_an_address_of_its_own(get_wsgi_application())
    document = linked(schemathesis.openapi.from_wsgi(DOCUMENT, application).raw_schema)
    schema = schemathesis.openapi.from_dict(with_one_source(document, seed), config=config)
    schema.app, schema.location = application, DOCUMENT
    for event in from_schema(schema).execute():
        if isinstance(event, events.NonFatalError):
            report.findings[event.label, "error", type(event.value).__name__] = str(event.value)
        if isinstance(event, events.ScenarioFinished):
            _note(event.recorder, report)


def _config(caller: World, *, seed: int, phases: tuple[str, ...], examples: int) -> dict[str, Any]:
    known = {name: draw for name, draw in DRAWN.items() if draw[0] in caller.values}
    drawn = {name: {"dictionary": values, "probability": often} for name, (values, often) in known.items()}
    return {
        "seed": seed,
        "cache": {"enabled": False},
        "headers": caller.headers,
        "dictionaries": {name: {"values": values} for name, values in caller.values.items()},
        "parameters": drawn,
        "generation": {"max-examples": examples, "database": "none", "allow-x00": False},
        "phases": {name: {"enabled": name in phases} for name in ("examples", "coverage", "fuzzing", "stateful")},
        "checks": {
            "ignored_auth": {"enabled": False},  # it cannot run in process; test_access.py tries every route instead
            "positive_data_acceptance": {"expected-statuses": ACCEPTED},
        },
        "operations": [
            {"include-name": MORE_RULES, "checks": {"positive_data_acceptance": {"expected-statuses": [*ACCEPTED, "400"]}}},
            {"include-name": ["POST /api/v1/orders"], "generation": {"max-examples": 5 * examples}},
        ],
    }


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """What the document cannot say: a guest's key has 16 characters; and see `_whole`."""
    key = (case.headers or {}).get("Idempotency-Key")
    if key and not case.operation.schema.config.headers:
        case.headers["Idempotency-Key"] = key.ljust(16, key[-1])
    if case.meta.generation.mode.is_positive:
        case.body = _whole(case.body)


@schemathesis.hook
def filter_failure(context: Any, failure: Any, case: Any, response: Any) -> bool:
    """An empty value in a query is none, as forms send them, whatever it was to be."""
    accepted = isinstance(failure, AcceptedNegativeData)
    return not (accepted and any(value in ("", {}, []) for value in (case.query or {}).values()))


def _whole(value: Any) -> Any:
    """JSON Schema counts 2.0 as an integer; this API reads 2 alone."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_whole(entry) for entry in value]
    if isinstance(value, dict):
        return {name: _whole(entry) for name, entry in value.items()}
    return value


def _note(recorder: Any, report: Report) -> None:
    report.cases += len(recorder.interactions)
    for identifier, sent in recorder.interactions.items():
        operation = recorder.cases[identifier].value.operation.label
        report.answers[operation, sent.response.status_code if sent.response else 599] += 1
    for identifier, name, found in _failures(recorder):
        operation = recorder.cases[identifier].value.operation.label
        how = f"    {found.failure.message[:400]}\n    {found.code_sample[:600]}"
        report.findings.setdefault((operation, name, found.failure.title), how)


def _failures(recorder: Any) -> Iterator[tuple[str, str, Any]]:
    for identifier, checks in recorder.checks.items():
        for check in checks:
            if check.failure_info:
                yield identifier, check.name, check.failure_info


def at_an_address_of_its_own(application: Any) -> Any:
    """Failed sign-ins are counted by address: an attack must not use up what the other tests have."""
    address = fresh_address()

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        return application(environ | {"REMOTE_ADDR": address}, start_response)

    return app


__all__ = ["Report", "attack", "rules", "run"]
