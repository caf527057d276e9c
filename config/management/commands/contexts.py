"""manage.py contexts: the map of the contexts, as it is."""

import argparse
import json
from dataclasses import asdict
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from config import contexts
from shop.traffic import WINDOW


class Command(BaseCommand):
    help = (
        "Show who calls whom, how often and how fast, who hears what, and who owns which tables; "
        "--write and --check are about docs/contexts.md, which has no figures."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: Any) -> None:
        how = parser.add_mutually_exclusive_group()
        for name in ("json", "mermaid", "write", "check"):
            how.add_argument(f"--{name}", action="store_true")
        parser.add_argument("--minutes", type=minutes, default=WINDOW, help="that the figures are of (default: %(default)d)")

    def handle(self, *args: Any, **options: Any) -> None:
        what, file = contexts.found(), settings.BASE_DIR / "docs" / "contexts.md"
        if options["write"]:
            file.write_text(contexts.page(what))
        elif options["check"]:
            if not file.exists() or file.read_text() != contexts.page(what):
                raise CommandError("docs/contexts.md is not what the code says: run `manage.py contexts --write`")
        else:
            self._show(what, options)

    def _show(self, what: dict[str, Any], options: dict[str, Any]) -> None:
        edges, silent = contexts.measured(options["minutes"])
        if options["json"]:
            seen = {"minutes": options["minutes"], "edges": [asdict(edge) for edge in edges], "silent": silent}
            self.stdout.write(json.dumps(what | {"traffic": seen}, indent=1))
        elif options["mermaid"]:
            self.stdout.write(contexts.mermaid(what, edges))
        else:
            self.stdout.write(contexts.text(what).strip() + "\n" + contexts.figures(edges, silent, options["minutes"]))


def minutes(text: str) -> int:
    """As many as are kept."""
    if not text.isdecimal() or not 1 <= int(text) <= 24 * 60:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to {24 * 60}")
    return int(text)
