"""manage.py verify: check the invariants of the databases, read-only. It may run while the shop is running."""

import json
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from ops.verify import ALL_CONTEXTS, GRACE_SECONDS, INVARIANTS, DatabaseUnreadable, Invariant, Report, verify
from shop.calls.hosts import find_host_states
from shop.text import format_count


class Command(BaseCommand):
    help = (
        "Check the invariants of docs/invariants.md against the databases, read-only. "
        "Exit status: 0 all hold, 1 some do not, 2 a database cannot be read, "
        "3 no process serves a context that CONTEXTS leaves out."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--at-rest",
            action="store_true",
            dest="is_idle",
            help="the shop is idle and its engine has no work left: report all unfinished work, whatever its age",
        )
        parser.add_argument(
            "--context",
            action="append",
            choices=settings.CONTEXTS,
            help="check only this context; may be given several times",
        )
        parser.add_argument(
            "--grace",
            type=parse_seconds,
            default=GRACE_SECONDS,
            help="grace period in seconds: younger unfinished work is not reported (default: %(default)g)",
        )
        parser.add_argument("--list", action="store_true", help="print the table of invariants in docs/invariants.md")
        parser.add_argument("--json", action="store_true", help="print the report as one JSON document")

    def handle(self, *args: object, **options: Any) -> None:
        if options["list"]:
            self.stdout.write(render_table())
            return
        try:
            report = verify(is_idle=options["is_idle"], contexts=options["context"], grace=options["grace"])
        except DatabaseUnreadable as outage:
            raise CommandError(str(outage), returncode=2) from None
        self.stdout.write(_render_json(report) if options["json"] else _render_text(report))
        if report.violations:
            raise CommandError(_count_violations(report), returncode=1)
        _refuse_contexts_without_host()


def _refuse_contexts_without_host() -> None:
    """Raise CommandError if a context that these settings place elsewhere is served by no process at its address."""
    absent = [context for context, state in find_host_states().items() if state != "ok"]
    if absent:
        raise CommandError(
            f"No process serves {', '.join(absent)}: start one with CONTEXTS={','.join(absent)}, or correct "
            f"{', '.join(f'{context.upper()}_URL' for context in absent)} and CONTEXTS",
            returncode=3,
        )


def parse_seconds(text: str) -> float:
    """Parse a number of seconds. Raises ValueError for a negative or huge one."""
    if not 0 <= (value := float(text)) < 10**6:
        raise ValueError(text)
    return value


def render_table() -> str:
    """Return the invariants as a Markdown table."""
    head = "| no. | invariant | contexts | holds | description |\n|---|---|---|---|---|"
    return "\n".join([head, *map(_render_row, INVARIANTS)])


def _render_row(one: Invariant) -> str:
    holds = "always" if one.holds_always else "eventually"
    return f"| {one.number} | `{one.name}` | {_describe_contexts(one)} | {holds} | {one.description} |"


def _describe_contexts(one: Invariant) -> str:
    if one.contexts == ALL_CONTEXTS:
        return "all" if one.is_cross_context else "each"
    return ", ".join(one.contexts)


def _count_violations(report: Report) -> str:
    return format_count(len(report.violations) + report.unlisted_count, "violation")


def _render_text(report: Report) -> str:
    lines = []
    for one in INVARIANTS:
        if found := [violation for violation in report.violations if violation.invariant == one.name]:
            lines.append(f"{one.number} {one.name}: {one.description}")
            lines += [f"  {violation.subject}: {violation.detail}" for violation in found]
    if report.unlisted_count:
        lines.append(f"{format_count(report.unlisted_count, 'more violation is', 'more violations are')} not listed")
    unused = [one.name for one in INVARIANTS if report.checked_counts.get(one.name) == 0]
    if unused:
        lines.append(f"no rows to check: {', '.join(unused)}")
    if report.unchecked:
        lines.append(f"not checked because their contexts were not read: {', '.join(report.unchecked)}")
    lines.append(
        f"{_count_violations(report)} of {format_count(len(report.checked_counts), 'invariant')}, "
        f"{format_count(sum(report.checked_counts.values()), 'row')} checked in {report.seconds:.1f} s"
    )
    return "\n".join(lines)


def _render_json(report: Report) -> str:
    return json.dumps(
        {
            "violations": [found._asdict() for found in report.violations],
            "unnamed": report.unlisted_count,
            "looked": report.checked_counts,
            "unchecked": report.unchecked,
            "seconds": round(report.seconds, 3),
        },
        indent=1,
    )
