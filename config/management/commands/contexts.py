"""manage.py contexts: the map of the contexts, as it is."""

import json
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from config import contexts


class Command(BaseCommand):
    help = "Show who calls whom, who hears what, and who owns which tables; --write and --check are about docs/contexts.md."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: Any) -> None:
        how = parser.add_mutually_exclusive_group()
        for name in ("json", "mermaid", "write", "check"):
            how.add_argument(f"--{name}", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        what, file = contexts.found(), settings.BASE_DIR / "docs" / "contexts.md"
        if options["write"]:
            file.write_text(contexts.page(what))
        elif options["check"]:
            if not file.exists() or file.read_text() != contexts.page(what):
                raise CommandError("docs/contexts.md is not what the code says: run `manage.py contexts --write`")
        elif options["json"]:
            self.stdout.write(json.dumps(what, indent=1))
        else:
            self.stdout.write(contexts.mermaid(what) if options["mermaid"] else contexts.text(what).strip())
