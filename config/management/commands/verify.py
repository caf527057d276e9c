"""manage.py verify: whether the shop's books are right. Read-only; may run beside the shop at any time."""

import json
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from config.verify import ALL, GRACE, INVARIANTS, Invariant, Outage, Report, verify


class Command(BaseCommand):
    help = (
        "Check the invariants of docs/invariants.md against the databases, read-only. "
        "Exit status: 0 all hold, 1 some do not, 2 a database cannot be read."
    )

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument(
            "--at-rest", action="store_true", help="nobody uses the shop and nothing is on its way: excuse no delay"
        )
        parser.add_argument(
            "--context", action="append", choices=settings.CONTEXTS, help="only this one; may be given several times"
        )
        parser.add_argument(
            "--grace", type=seconds, default=GRACE, help="seconds that something may be on its way (default: %(default)g)"
        )
        parser.add_argument("--list", action="store_true", help="print the invariants as they stand in docs/invariants.md")
        parser.add_argument("--json", action="store_true", help="one JSON document on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["list"]:
            self.stdout.write(table())
            return
        try:
            report = verify(at_rest=options["at_rest"], contexts=options["context"], grace=options["grace"])
        except Outage as outage:
            raise CommandError(str(outage), returncode=2) from None
        self.stdout.write(_document(report) if options["json"] else _text(report))
        if report.violations:
            raise CommandError(f"{len(report.violations) + report.unnamed} violations", returncode=1)


def seconds(text: str) -> float:
    if not 0 <= (value := float(text)) < 10**6:
        raise ValueError(text)
    return value


def table() -> str:
    """The invariants as a table in Markdown."""
    head = "| no. | invariant | books of | holds | |\n|---|---|---|---|---|"
    rows = (
        f"| {one.number} | `{one.name}` | {_books(one)} | {'always' if one.at_every_instant else 'in the end'} | {one.says} |"
        for one in INVARIANTS
    )
    return "\n".join([head, *rows])


def _books(one: Invariant) -> str:
    if one.contexts == ALL:
        return "all" if one.meet else "each"
    return ", ".join(one.contexts)


def _text(report: Report) -> str:
    lines = []
    for one in INVARIANTS:
        if found := [violation for violation in report.violations if violation.invariant == one.name]:
            lines.append(f"{one.number} {one.name}: {one.says}")
            lines += [f"  {violation.subject}: {violation.detail}" for violation in found]
    if report.unnamed:
        lines.append(f"{report.unnamed} more are not named")
    idle = [one.name for one in INVARIANTS if report.looked.get(one.name) == 0]
    if idle:
        lines.append(f"looked at nothing: {', '.join(idle)}")
    if report.unchecked:
        lines.append(f"not checked without the other contexts: {', '.join(report.unchecked)}")
    lines.append(
        f"{len(report.violations) + report.unnamed} violations of {len(report.looked)} invariants, "
        f"{sum(report.looked.values())} rows looked at in {report.seconds:.1f} s"
    )
    return "\n".join(lines)


def _document(report: Report) -> str:
    return json.dumps(
        {
            "violations": [found._asdict() for found in report.violations],
            "unnamed": report.unnamed,
            "looked": report.looked,
            "unchecked": report.unchecked,
            "seconds": round(report.seconds, 3),
        },
        indent=1,
    )
