"""manage.py demo: customers who buy in a running shop over HTTP, and a table of what happened."""

import sys
from typing import Any

from django.core.management.base import BaseCommand

from config.demo import run


class Command(BaseCommand):
    help = "Place orders in a running shop over HTTP, and tell what happened."
    requires_system_checks = []

    def add_arguments(self, parser: Any) -> None:
        run.add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        given = {name: options[name] for name in ("orders", "url", "clients", "seed")}
        if status := run.demo(**given, out=self.stdout, err=self.stderr):
            sys.exit(status)
