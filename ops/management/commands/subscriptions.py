"""manage.py subscriptions: write, or check, the file that lists the contexts which consume each event."""

import json

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from shop.messaging import events


class Command(BaseCommand):
    help = "Write config/subscriptions.json from the handlers; with --check, fail if it is out of date."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", action="store_true", help="fail if the file is out of date")

    def handle(self, *, check: bool, **_: object) -> None:
        file = settings.BASE_DIR / "config" / "subscriptions.json"
        current = json.dumps(events.build_subscriptions(), indent=1) + "\n"
        if check and file.read_text() != current:
            raise CommandError(f"{file.name} does not match the handlers. Run `manage.py subscriptions`.")
        if not check:
            file.write_text(current)
