"""Send requests that schemathesis generates from the OpenAPI document, in process, and collect the findings."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import schemathesis
from django.core.wsgi import get_wsgi_application
from schemathesis.core.failures import AcceptedNegativeData
from schemathesis.engine import events, from_schema

from shop.text import has_invisible_characters
from tests.fuzz import rules
from tests.fuzz.links import with_links, with_python_patterns, with_single_item_source
from tests.fuzz.world import CALLERS, PARAMETER_SOURCES, CallerData, create_caller_data
from tests.users.accounts import unique_ip_address

DOCUMENT = "/api/schema?format=json"
FEW_EXAMPLES, MANY_EXAMPLES = 2, 8  # generated requests per operation and round
ACCEPTED = ["2xx", "3xx", "401", "402", "403", "404", "409", "412", "422", "429"]
# Operations whose requests can be valid by the schema and still be refused: a cart and items together, a provider that this
# shop does not have, a weak password, a cursor of another list, an address of another site.
UNDOCUMENTED_RULES = ["POST /api/v1/orders", "POST /api/v1/orders/{order_id}/payment", "POST /api/v1/auth/register",
              "GET /api/v1/products", "GET /api/v1/categories", "GET /api/v1/orders", "GET /api/v1/notifications",
              *(f"{method} /api/v1/payments/sandbox/{{reference}}/{page}"
                for method in ("GET", "POST") for page in ("approve", "decline"))]  # fmt: skip


@dataclass
class Report:
    """The number of requests, the statuses of the responses, and the findings."""

    cases: int = 0
    answers: Counter = field(default_factory=Counter)
    findings: dict[tuple[str, str, str], str] = field(default_factory=dict)

    def succeeded(self) -> set[str]:
        """Return the operations that succeeded at least once."""
        return {operation for operation, status in self.answers if status < 400}

    def __str__(self) -> str:
        by_status = Counter()
        for (_, status), number in self.answers.items():
            by_status[status] += number
        statuses = ", ".join(f"{status}: {number}" for status, number in sorted(by_status.items()))
        found = "".join(
            f"\n{operation}: {check}: {title}\n{how}" for (operation, check, title), how in self.findings.items()
        )
        return f"{self.cases} cases ({statuses}), {len(self.findings)} findings{found}"


def attack(*, cases: int, seed: int, thorough: bool) -> Report:
    """Send rounds of requests by every caller, each round with its seed, until there were at least `cases` requests.

    The same seed results in the same requests, except for ids. thorough: the first round also tests the boundary values of
    every parameter (coverage), and each round has more requests.
    """
    report = Report()
    phases = ("coverage", "fuzzing", "stateful") if thorough else ("fuzzing", "stateful")
    for round_seed in count(seed):
        for role in CALLERS:
            run(
                create_caller_data(role),
                report,
                seed=round_seed,
                phases=phases,
                examples=MANY_EXAMPLES if thorough else FEW_EXAMPLES,
            )
        if report.cases >= cases or report.findings:
            return report
        phases = ("fuzzing", "stateful")
    raise AssertionError("rounds do not end by themselves")


def run(caller: CallerData, report: Report, *, seed: int, phases: tuple[str, ...], examples: int) -> None:
    """Run the round of one caller, and add its findings to the report."""
    config = schemathesis.Config.from_dict(_config(caller, seed=seed, phases=phases, examples=examples))
    application = with_unique_client_address(get_wsgi_application())
    document = with_python_patterns(with_links(schemathesis.openapi.from_wsgi(DOCUMENT, application).raw_schema))
    schema = schemathesis.openapi.from_dict(with_single_item_source(document, seed), config=config)
    schema.app, schema.location = application, DOCUMENT
    for event in from_schema(schema).execute():
        if isinstance(event, events.NonFatalError):
            report.findings[event.label, "error", type(event.value).__name__] = str(event.value)
        if isinstance(event, events.ScenarioFinished):
            _record(event.recorder, report)


def _config(caller: CallerData, *, seed: int, phases: tuple[str, ...], examples: int) -> dict[str, Any]:
    known = {name: draw for name, draw in PARAMETER_SOURCES.items() if draw[0] in caller.values}
    drawn = {name: {"dictionary": values, "probability": probability} for name, (values, probability) in known.items()}
    return {
        "seed": seed,
        "cache": {"enabled": False},
        "headers": caller.headers,
        "dictionaries": {name: {"values": values} for name, values in caller.values.items()},
        "parameters": drawn,
        "generation": {"max-examples": examples, "database": "none", "allow-x00": True},
        "phases": {name: {"enabled": name in phases} for name in ("examples", "coverage", "fuzzing", "stateful")},
        "checks": {
            "ignored_auth": {"enabled": False},  # it cannot run in process; test_access.py tries every route instead
            "positive_data_acceptance": {"expected-statuses": ACCEPTED},
        },
        "operations": [
            {
                "include-name": UNDOCUMENTED_RULES,
                "checks": {"positive_data_acceptance": {"expected-statuses": [*ACCEPTED, "400"]}},
            },
            {"include-name": ["POST /api/v1/orders"], "generation": {"max-examples": 5 * examples}},
        ],
    }


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Apply rules that the document cannot express: a guest's key has 16 characters; see also `_follow_unwritten_rules`."""
    key = (case.headers or {}).get("Idempotency-Key")
    if key and not case.operation.schema.config.headers:
        case.headers["Idempotency-Key"] = key.ljust(16, key[-1])
    if case.meta.generation.mode.is_positive:
        case.body = _follow_unwritten_rules(case.body)


@schemathesis.hook
def filter_failure(context: Any, failure: Any, case: Any, response: Any) -> bool:
    """Ignore accepted empty values in a query: they count as absent, since forms send them so."""
    accepted = isinstance(failure, AcceptedNegativeData)
    return not (accepted and any(value in ("", {}, []) for value in (case.query or {}).values()))


def _follow_unwritten_rules(value: Any) -> Any:
    """Return a JSON value as the API accepts it.

    2.0 becomes 2: both are integers in JSON Schema, but this API accepts only the second. Invisible characters above U+FFFF,
    and joiners, become another character: a pattern that all generated clients can read allows too many of them.
    """
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str):
        return "".join("x" if _is_allowed_by_patterns_alone(character) else character for character in value)
    if isinstance(value, list):
        return [_follow_unwritten_rules(entry) for entry in value]
    if isinstance(value, dict):
        return {name: _follow_unwritten_rules(entry) for name, entry in value.items()}
    return value


def _is_allowed_by_patterns_alone(character: str) -> bool:
    return (character > "\uffff" or character in "\u200c\u200d") and has_invisible_characters(character)


def _record(recorder: Any, report: Report) -> None:
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


def with_unique_client_address(application: Any) -> Any:
    """Give an application a new client address, since failed sign-ins are counted by address and limited."""
    address = unique_ip_address()

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        return application(environ | {"REMOTE_ADDR": address}, start_response)

    return app


__all__ = ["Report", "attack", "rules", "run"]
