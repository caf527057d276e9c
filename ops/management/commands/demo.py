"""manage.py demo: let customers place orders in a running shop over HTTP, and print a table of the outcomes."""

import sys
from argparse import ArgumentParser

from django.core.management.base import BaseCommand

from ops.demo import run


class Command(BaseCommand):
    help = "Place orders in a running shop over HTTP, and print a table of the outcomes."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        run.add_arguments(parser)

    def handle(self, *, orders: int, url: str | None, clients: int, seed: int, **_: object) -> None:
        status = run.run_demo(orders=orders, url=url, clients=clients, seed=seed, out=self.stdout, err=self.stderr)
        if status:
            sys.exit(status)
