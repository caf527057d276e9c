"""manage.py currency: bring existing prices into CURRENCY after a change of that setting."""

from collections.abc import Iterator
from decimal import Decimal

from django.conf import settings
from django.core.checks import ERROR
from django.core.management.base import BaseCommand, CommandError, CommandParser

from contexts.inventory.management.rates import parse_rate
from contexts.inventory.service import currency
from shop.db.database import hosted_contexts
from shop.errors import DomainError
from shop.money import Money
from shop.text import format_count

ACTOR = "manage.py currency"
MAX_LISTED_CONVERSIONS = 10


class Command(BaseCommand):
    help = (
        "Show, convert or remove the prices that are not in CURRENCY. It may run while the shop is running, and be run "
        "again after an interruption. Orders and payments keep the currency in which they were placed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        what = parser.add_mutually_exclusive_group()
        what.add_argument(
            "--check",
            action="store_true",
            help="exit with status 1 if there are any; only warn if the database is unavailable",
        )
        what.add_argument(
            "--convert", type=parse_rate, metavar="RATE", dest="rate",
            help="convert these prices; RATE is in units of CURRENCY for one unit of their currency",
        )  # fmt: skip
        what.add_argument(
            "--empty", action="store_true",
            help="delete them with their variants, products and categories. A variant that was sold or restocked is kept, "
            "off sale and without a price.",
        )  # fmt: skip
        parser.add_argument(
            "--from", dest="source", metavar="CODE", help="currency of the prices, if they are in several"
        )
        parser.add_argument("--dry-run", action="store_true", help="show what would be done, and change nothing")

    def handle(
        self, *, check: bool, rate: Decimal | None, empty: bool, source: str | None, dry_run: bool, **_: object
    ) -> None:
        if "inventory" not in hosted_contexts():
            self.stdout.write("This process does not host inventory, which has the prices.")
            return
        if check:
            return self._check()
        counts = currency.count_other_currencies()
        if not counts:
            self.stdout.write(f"All prices are in {settings.CURRENCY}.")
        elif rate is None and not empty:
            self.stdout.write("\n".join(_describe_prices(count, code) for code, count in counts.items()))
        else:
            self._bring_into_currency(_choose_source(counts, source), counts, rate, dry_run)

    def _check(self) -> None:
        for problem in currency.find_problems():
            if problem.level >= ERROR:
                raise CommandError(f"{problem.msg} {problem.hint}")
            self.stderr.write(str(problem.msg))

    def _bring_into_currency(self, source: str, counts: dict[str, int], rate: Decimal | None, dry_run: bool) -> None:
        try:
            if rate is not None:
                self._list_conversions(source, rate)
                steps = self._convert(source, rate)
            else:
                self.stdout.write(_describe_prices(counts[source], source))
                steps = self._empty(source)
            if dry_run:
                self.stdout.write("Nothing was changed.")
                return
            for line in steps:
                self.stdout.write(line)
        except DomainError as refusal:
            raise CommandError(str(refusal)) from None

    def _list_conversions(self, source: str, rate: Decimal) -> None:
        """Compute every conversion before the first one is made, and print some."""
        conversions = list(currency.preview_conversion(source, rate))
        for one in conversions[:MAX_LISTED_CONVERSIONS]:
            self.stdout.write(f"{one.sku}: {one.before} → {one.after}")
        if len(conversions) > MAX_LISTED_CONVERSIONS:
            self.stdout.write(f"… and {len(conversions) - MAX_LISTED_CONVERSIONS} more")

    def _convert(self, source: str, rate: Decimal) -> Iterator[str]:
        for converted in currency.convert(source, rate, actor=ACTOR):
            yield f"{format_count(converted, 'price')} converted to {settings.CURRENCY}"

    def _empty(self, source: str) -> Iterator[str]:
        for removed, kept in currency.remove(source, actor=ACTOR):
            yield (
                f"{format_count(removed, 'price')} removed; {format_count(kept, 'variant')} with a history kept, off sale, "
                f"at {Money(0, settings.CURRENCY)}"
            )


def _describe_prices(count: int, code: str) -> str:
    return f"{format_count(count, 'price is', 'prices are')} in {code}."


def _choose_source(counts: dict[str, int], source: str | None) -> str:
    if source is None and len(counts) == 1:
        return next(iter(counts))
    if source not in counts:
        found = ", ".join(f"{code} ({count})" for code, count in counts.items())
        raise CommandError(f"Choose the currency with --from. There are prices in {found}.")
    return source
