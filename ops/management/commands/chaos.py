"""manage.py chaos: test a separate shop under faults, or print the history of an order of this shop."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from ops.console import order_history
from ops.console.request_log import Entry, read_request_log

# Passed on to `python -m tests.soak`, which checks their values.
SOAK_OPTIONS = ("seed", "orders", "mode", "engine", "buyers", "folder")


class Command(BaseCommand):
    help = "Run a soak test on its own databases, or print all that is known about an order."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        run = verbs.add_parser("run", help="place orders in a separate shop while faults are injected, and audit it")
        for option in SOAK_OPTIONS:
            run.add_argument(f"--{option}", help="see `python -m tests.soak --help`")
        history = verbs.add_parser("story", help="print the history of an order from all five databases of this shop")
        history.add_argument("order", type=UUID, help="id of the order")
        history.add_argument(
            "--history", type=Path, help="add the requests of the buyers: history.jsonl of a soak test"
        )

    def handle(self, *, verb: str, order: UUID | None = None, history: Path | None = None, **options: object) -> None:
        if verb == "run":
            self._run_soak([f"--{option}={value}" for option in SOAK_OPTIONS if (value := options[option]) is not None])
        else:
            self._print_history(str(order), history)

    def _run_soak(self, arguments: Sequence[str]) -> None:
        """Run the soak test in another process, since the settings of this one are those of another shop."""
        if not (settings.BASE_DIR / "tests" / "soak" / "__main__.py").is_file():
            raise CommandError(
                f"The soak test is not installed here: {settings.BASE_DIR} has no tests/soak, as is the case in an image. "
                "Run the command in a checkout of the repository."
            )
        done = subprocess.run([sys.executable, "-m", "tests.soak", *arguments], cwd=settings.BASE_DIR, check=False)
        if done.returncode:
            raise CommandError("The soak test failed; see its report above.", returncode=done.returncode)

    def _print_history(self, order: str, request_log: Path | None) -> None:
        lines = order_history.describe_order(order, self._read_request_log(request_log))
        if not lines:
            raise CommandError(f"There is no order {order} in the databases of this shop.")
        self.stdout.write("\n".join(lines))

    def _read_request_log(self, path: Path | None) -> list[Entry]:
        try:
            return list(read_request_log(path)) if path else []
        except (OSError, ValueError) as error:
            raise CommandError(f"{path} is not the history.jsonl of a soak test: {error}") from None
