"""manage.py contexts: print the context map, as the code defines it, with the recorded traffic."""

import argparse
import json
from dataclasses import asdict

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from ops.topology import context_map
from shop.calls.call_metrics import WINDOW_MINUTES

MAX_MINUTES = 24 * 60  # how long traffic is recorded


class Command(BaseCommand):
    help = (
        "Print which context calls which, how often and how fast, which events each consumes, and which tables it owns. "
        "--write and --check are for docs/contexts.md, which has no traffic."
    )
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        output = parser.add_mutually_exclusive_group()
        output.add_argument("--json", action="store_true", help="print the map and the traffic as JSON")
        output.add_argument("--mermaid", action="store_true", help="print the map as a Mermaid diagram")
        output.add_argument("--write", action="store_true", help="write docs/contexts.md")
        output.add_argument("--check", action="store_true", help="fail if docs/contexts.md is out of date")
        parser.add_argument(
            "--minutes",
            type=parse_minutes,
            default=WINDOW_MINUTES,
            help="period of the traffic (default: %(default)d)",
        )

    def handle(self, *, write: bool, check: bool, json: bool, mermaid: bool, minutes: int, **_: object) -> None:
        found, page = context_map.build_context_map(), settings.BASE_DIR / "docs" / "contexts.md"
        if write:
            page.write_text(context_map.render_page(found))
        elif check:
            if not page.exists() or page.read_text() != context_map.render_page(found):
                raise CommandError("docs/contexts.md is out of date. Run `manage.py contexts --write`.")
        else:
            self.stdout.write(_render(found, as_json=json, as_mermaid=mermaid, minutes=minutes))


def _render(found: context_map.ContextMap, *, as_json: bool, as_mermaid: bool, minutes: int) -> str:
    edges, unreachable = context_map.collect_traffic(minutes)
    if as_json:
        traffic = {"minutes": minutes, "edges": [asdict(edge) for edge in edges], "silent": unreachable}
        return json.dumps({**found, "traffic": traffic}, indent=1)
    if as_mermaid:
        return context_map.render_mermaid(found, edges)
    traffic_text = context_map.render_traffic(edges, unreachable, minutes)
    return f"{context_map.render_text(found).strip()}\n{traffic_text}"


def parse_minutes(text: str) -> int:
    """Parse a number of minutes that traffic is kept for."""
    if not text.isdecimal() or not 1 <= int(text) <= MAX_MINUTES:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {MAX_MINUTES}")
    return int(text)
