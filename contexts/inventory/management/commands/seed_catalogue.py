"""manage.py seed_catalogue [file]: a shop to look at. Run it as often as you like."""

from pathlib import Path
from typing import Any

import msgspec
from django.core.management.base import BaseCommand, CommandError, CommandParser

from contexts.inventory.service import seeding

CATALOGUE = Path(__file__).resolve().parents[2] / "seed" / "catalogue.json"


class Command(BaseCommand):
    help = "Add categories, products, variants and their initial stock; what exists stays as it is."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", nargs="?", type=Path, default=CATALOGUE)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            catalogue = msgspec.json.decode(options["file"].read_bytes(), type=seeding.Catalogue)
        except (OSError, msgspec.MsgspecError) as error:
            raise CommandError(f"{options['file']}: {error}") from None
        added = seeding.seed(catalogue)
        self.stdout.write(f"Added {added.categories} categories, {added.products} products, {added.variants} variants.")
