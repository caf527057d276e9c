"""manage.py seed_catalogue [file]: add a sample catalogue. It can be run repeatedly."""

from pathlib import Path

import msgspec
from django.core.management.base import BaseCommand, CommandError, CommandParser

from contexts.inventory.service import seeding

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

    def handle(self, *, file: Path, **_: object) -> None:
        try:
            catalogue = msgspec.json.decode(file.read_bytes(), type=seeding.SeedCatalogue)
        except (OSError, msgspec.MsgspecError) as error:
            raise CommandError(f"{file}: {error}") from None
        added = seeding.seed(catalogue)
        self.stdout.write(f"Added {added.categories} categories, {added.products} products, {added.variants} variants.")
