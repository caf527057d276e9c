"""manage.py startcontext: write a new context that keeps every rule, as a start for your own."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from ops import verify
from ops.startcontext import generator

NEXT_STEPS = """
{context} is a context now. Next:
  .importlinter                 move it up in the context map if it calls other contexts
  .github/CODEOWNERS            name the owners of contexts/{context}/ and tests/{context}/
  docker-compose.split.yml      add a container if you deploy it alone
  tests/fuzz/matrix.py          declare who may use its endpoints
  tests/ops/verify/corruptions.py, docs/invariants.md
                                plant a violation of its invariant, and list it (manage.py verify --list)
  manage.py databases, migrate  create its database and its tables
"""


class Command(BaseCommand):
    help = (
        "Write contexts/NAME and tests/NAME: a small complete context with a table, an interface, an event, a handler, "
        "REST, admin and tests; and add NAME to the context map in .importlinter."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("name", help="a plural in lower-case letters, such as reviews")
        parser.add_argument("--owns", required=True, help="what it owns, such as: product reviews and their moderation")
        parser.add_argument("--noun", help="one of them, such as review (default: the name without its plural s)")

    def handle(self, *args: Any, **options: Any) -> None:
        root = Path(settings.BASE_DIR)
        try:
            names = generator.build_names(options["name"], options["noun"], options["owns"], root)
        except generator.InvalidName as error:
            raise CommandError(str(error)) from None
        number = 1 + max(invariant.number for invariant in verify.INVARIANTS)
        files = generator.write_files(names, number, root)
        linter = root / ".importlinter"
        linter.write_text(generator.add_to_map(names.context, linter.read_text()))
        self._format(files, root)
        self._run([sys.executable, "-m", "ops.startcontext.update_generated", names.context], root)
        for file in files:
            self.stdout.write(str(file.relative_to(root)))
        self.stdout.write(NEXT_STEPS.format(context=names.context))

    def _format(self, files: list[Path], root: Path) -> None:
        """Sort imports and wrap lines, which depend on the length of the names."""
        ruff = Path(sys.executable).with_name("ruff")
        if ruff.exists():
            sources = [str(file) for file in files]
            self._run([str(ruff), "check", "--quiet", "--select", "I", "--fix", *sources], root)
            self._run([str(ruff), "format", "--quiet", *sources], root)

    def _run(self, command: list[str], root: Path) -> None:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CommandError(f"The files are written, but `{' '.join(command[1:4])}` failed:\n{done.stderr.strip()}")
