"""manage.py asyncapi: the AsyncAPI document of all events."""

import json
from typing import Any

from django.core.management.base import BaseCommand

from config import asyncapi


class Command(BaseCommand):
    help = "Write the AsyncAPI 3.0 document of all events to standard output."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(json.dumps(asyncapi.document(), indent=1))
