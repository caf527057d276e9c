"""manage.py subscriptions: write, or check, the file that says which context listens to which event."""

import json
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from shop import events


class Command(BaseCommand):
    help = "Write config/subscriptions.json from the handlers; with --check, fail if it is not what they say."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--check", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        file = settings.BASE_DIR / "config" / "subscriptions.json"
        current = json.dumps(events.subscriptions(), indent=1) + "\n"
        if options["check"] and file.read_text() != current:
            raise CommandError(f"{file.name} is not what the handlers say: run `manage.py subscriptions`")
        if not options["check"]:
            file.write_text(current)
