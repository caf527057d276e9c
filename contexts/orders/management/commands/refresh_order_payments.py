"""Read the payments of orders again: refunds that were made before orders recorded them."""

from argparse import ArgumentParser
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand

from contexts.orders.service import order_payments
from shop.text import format_count


class Command(BaseCommand):
    """Record refunds, disputes and payment tasks that are missing in their orders."""

    help = (
        "Record what payments knows about refunds and disputes of orders. Run it once after the upgrade to the release "
        "that introduced it, for refunds made before; it may be interrupted and run again with the last printed id."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--after", type=UUID, help="continue after this order id")

    def handle(self, *args: Any, **options: Any) -> None:
        for last_id, read, updated in order_payments.refresh_all(after=options["after"]):
            self.stdout.write(f"{last_id}  {format_count(read, 'order')} read, {updated} updated")
