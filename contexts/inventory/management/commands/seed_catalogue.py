"""manage.py seed_catalogue [file] [--rate RATE]: add a sample catalogue. It can be run repeatedly."""

from decimal import Decimal
from pathlib import Path

import msgspec
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from contexts.inventory.management.rates import parse_rate
from contexts.inventory.service import seeding
from shop.errors import DomainError
from shop.text import format_count

DEFAULT_CATALOGUE_PATH = Path(__file__).resolve().parents[2] / "seed" / "catalogue.json"


class Command(BaseCommand):
    help = "Add missing categories, products and variants with their initial stock. Existing rows are not changed."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "file",
            nargs="?",
            type=Path,
            default=DEFAULT_CATALOGUE_PATH,
            help="JSON file; default: the sample catalogue",
        )
        parser.add_argument(
            "--rate",
            type=parse_rate,
            help="units of CURRENCY for one unit of the file's currency. A file in another currency is refused without "
            "it; the numbers of the sample catalogue are only an example and stay the same in every currency.",
        )

    def handle(self, *, file: Path, rate: Decimal | None, **_: object) -> None:
        if rate is None and file == DEFAULT_CATALOGUE_PATH:
            rate = Decimal(1)  # 19.99 EUR, 19.99 USD, 20 JPY, 19.990 KWD
        try:
            catalogue = msgspec.json.decode(file.read_bytes(), type=seeding.SeedCatalogue)
        except (OSError, msgspec.MsgspecError) as error:
            raise CommandError(f"{file}: {error}") from None
        try:
            if rate is not None and catalogue.currency != settings.CURRENCY:
                catalogue = seeding.convert(catalogue, rate)
            added = seeding.seed(catalogue)
        except seeding.WrongCurrency as refusal:
            raise CommandError(f"{file}: {refusal} Convert its prices with --rate.") from None
        except DomainError as refusal:
            raise CommandError(str(refusal)) from None
        counts = (
            format_count(added.categories, "category", "categories"),
            format_count(added.products, "product"),
            format_count(added.variants, "variant"),
        )
        self.stdout.write(f"Added {', '.join(counts)}.")
