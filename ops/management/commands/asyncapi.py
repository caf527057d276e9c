"""manage.py asyncapi: print the AsyncAPI document of all events."""

import json

from django.core.management.base import BaseCommand

from ops.topology import asyncapi


class Command(BaseCommand):
    help = "Print the AsyncAPI 3.0 document of all events."
    requires_system_checks = []

    def handle(self, **_: object) -> None:
        self.stdout.write(json.dumps(asyncapi.build_document(), indent=1))
