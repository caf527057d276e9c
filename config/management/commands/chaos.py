"""manage.py chaos: break a shop of its own while people buy from it, and audit it; or tell the story of an order."""

import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from config.soak import story
from config.soak.__main__ import add_arguments
from config.soak.history import read


class Command(BaseCommand):
    help = "Run a soak on databases of its own, or tell all that is known of an order."

    def add_arguments(self, parser: Any) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        add_arguments(verbs.add_parser("run", help="buyers against a shop that keeps breaking; never this shop"))
        tell = verbs.add_parser("story", help="what happened to an order, by all five databases of this shop")
        tell.add_argument("order", type=UUID)
        tell.add_argument("--history", type=Path, help="what buyers noted: the history.jsonl of a soak")

    def handle(self, *args: Any, **options: Any) -> None:
        getattr(self, options["verb"])(options)

    def run(self, options: dict[str, Any]) -> None:
        """In a process of its own: these settings are another shop's."""
        names = ("seed", "orders", "mode", "engine", "buyers", "folder")
        given = [f"--{name}={options[name]}" for name in names if options[name] is not None]
        done = subprocess.run([sys.executable, "-m", "config.soak", *given], cwd=settings.BASE_DIR, check=False)
        if done.returncode:
            raise CommandError("the soak did not end well; what it said stands above", returncode=done.returncode)

    def story(self, options: dict[str, Any]) -> None:
        lines = story.tell(str(options["order"]), self._history(options["history"]))
        if not lines:
            raise CommandError(f"no database knows of an order {options['order']}")
        self.stdout.write("\n".join(lines))

    def _history(self, path: Path | None) -> list[Any]:
        try:
            return list(read(path)) if path else []
        except (OSError, ValueError) as error:
            raise CommandError(f"{path} cannot be read as a history: {error}") from None
