"""Prices in another currency than CURRENCY, which a change of that setting leaves behind: find, convert or remove them.

A price never changes its currency but here. A product and its variants change in one transaction, and each such
transaction takes a few products, so that customers and staff can go on meanwhile: an offer in another currency than the
order's is refused by orders. A run that was interrupted is continued by the next one.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.db import connections
from django.db.models import Exists, F, OuterRef
from django.db.utils import Error as DatabaseFailure
from psycopg.types.json import Jsonb

from contexts.inventory.models import Category, Product, ReservationLine, Stock, StockMovement, Variant
from contexts.inventory.service.catalogue_editing import update_price_ranges
from shop.audit import log_change
from shop.db.database import execute, fetch_rows, transaction
from shop.errors import Conflict
from shop.money import MAX_AMOUNT, Money, convert_money

PRODUCTS_PER_TRANSACTION = 100

_COUNT_SQL = """
SELECT currency, count(*) FROM inventory_variant WHERE currency <> %s GROUP BY currency ORDER BY currency"""
_CONVERT_SQL = """
WITH changed AS (
    UPDATE inventory_variant variant SET price = entry.price, currency = %(currency)s
    FROM unnest(%(skus)s::text[], %(prices)s::bigint[]) AS entry (sku, price) WHERE variant.sku = entry.sku)
INSERT INTO shop_auditentry (actor, action, object_type, object_id, detail)
SELECT %(actor)s, 'convert price', 'variant', sku, detail
FROM unnest(%(skus)s::text[], %(details)s::jsonb[]) AS entry (sku, detail)"""


class OtherCurrency(Conflict):
    """{count:price is|prices are} in {found}, but CURRENCY is {currency}."""

    count: int
    found: str
    currency: str


class PriceTooHigh(Conflict):
    """{sku} would cost {price}, which is more than a price can be."""

    sku: str
    price: Money


class Conversion(NamedTuple):
    """A price before and after its conversion."""

    sku: str
    before: Money
    after: Money


class RemovalCounts(NamedTuple):
    """Numbers of removed prices, and of variants that were kept, off sale and without a price."""

    removed: int
    kept: int


def count_other_currencies() -> dict[str, int]:
    """Count the prices that are not in CURRENCY, by their currency."""
    return dict(fetch_rows("inventory", _COUNT_SQL, [settings.CURRENCY]))


def require_one_currency() -> None:
    """Raise OtherCurrency if the catalogue has prices that are not in CURRENCY."""
    for found, count in count_other_currencies().items():
        raise OtherCurrency(count=count, found=found, currency=settings.CURRENCY)


def find_problems() -> list[CheckMessage]:
    """Report prices that are not in CURRENCY for the checks at start, or that they cannot be read."""
    try:
        counts = count_other_currencies()
    except DatabaseFailure as error:
        first_line = str(error).strip().partition("\n")[0]
        return [
            Warning(
                f"The currency of the prices could not be compared with CURRENCY: {first_line}", id="inventory.W001"
            )
        ]
    finally:
        connections["inventory"].close()
    return [_describe_problem(found, count) for found, count in counts.items()]


def _describe_problem(found: str, count: int) -> CheckMessage:
    problem = OtherCurrency(count=count, found=found, currency=settings.CURRENCY)
    hint = (
        f"Set CURRENCY={found} again. Or start the shop like that, convert its prices with "
        f"`CURRENCY={settings.CURRENCY} manage.py currency --convert RATE` or remove them with --empty, and restart it."
    )
    return Error(str(problem), hint=hint, id="inventory.E001")


def preview_conversion(source: str, rate: Decimal) -> Iterator[Conversion]:
    """Compute all conversions without a change. Raises PriceTooHigh."""
    for sku, price in Variant.objects.filter(currency=source).order_by("sku").values_list("sku", "price"):
        yield _convert(sku, Money(price, source), rate)


def convert(source: str, rate: Decimal, *, actor: str) -> Iterator[int]:
    """Convert all prices of one currency to CURRENCY. Yields the number of converted prices after each transaction.

    rate: units of CURRENCY for one unit of `source`. Raises PriceTooHigh.
    """
    converted = 0
    while count := _convert_batch(source, rate, actor):
        converted += count
        yield converted


def remove(source: str, *, actor: str) -> Iterator[RemovalCounts]:
    """Remove all prices of one currency. Yields the counts after each transaction.

    A variant that was never sold or counted is deleted, and with its last variant the product, and the category with its
    last product. A variant with a history stays, because stock and reservations refer to it: off sale, with a price of 0
    in CURRENCY.
    """
    removed = kept = 0
    while counts := _remove_batch(source, actor):
        removed, kept = removed + counts.removed, kept + counts.kept
        yield RemovalCounts(removed, kept)


def _convert(sku: str, price: Money, rate: Decimal) -> Conversion:
    converted = convert_money(price, settings.CURRENCY, rate)
    if converted.amount > MAX_AMOUNT:
        raise PriceTooHigh(sku=sku, price=converted)
    return Conversion(sku, price, converted)


def _lock_batch(source: str) -> tuple[list[UUID], list[Variant]]:
    """Lock some products with prices in this currency, then these variants, in the order in which an edit locks them."""
    has_price = Exists(Variant.objects.filter(product=OuterRef("pk"), currency=source))
    products = Product.objects.filter(has_price).order_by("id").select_for_update()
    product_ids = list(products.values_list("id", flat=True)[:PRODUCTS_PER_TRANSACTION])
    variants = Variant.objects.filter(product__in=product_ids, currency=source).order_by("sku").select_for_update()
    return product_ids, list(variants)


def _convert_batch(source: str, rate: Decimal, actor: str) -> int:
    with transaction("inventory"):
        product_ids, variants = _lock_batch(source)
        conversions = [_convert(one.sku, one.money, rate) for one in variants]
        if conversions:
            parameters = {
                "currency": settings.CURRENCY,
                "actor": actor,
                "skus": [one.sku for one in conversions],
                "prices": [one.after.amount for one in conversions],
                "details": [Jsonb(_describe(one, rate)) for one in conversions],
            }
            execute("inventory", _CONVERT_SQL, parameters)
            log_change("inventory", actor=actor, action="convert price", object_type="variant", count=len(conversions))
            update_price_ranges(product_ids)
    return len(conversions)


def _describe(conversion: Conversion, rate: Decimal) -> dict[str, object]:
    before, after = conversion.before, conversion.after
    return {
        "before": {"price": before.amount, "currency": before.currency},
        "after": {"price": after.amount, "currency": after.currency},
        "rate": str(rate),
    }


def _remove_batch(source: str, actor: str) -> RemovalCounts | None:
    with transaction("inventory"):
        product_ids, variants = _lock_batch(source)
        if not variants:
            return None
        unused = _find_unused([one.sku for one in variants])
        _audit_removal(variants, unused, actor)
        Stock.objects.filter(variant__in=unused).delete()
        Variant.objects.filter(sku__in=unused).delete()
        kept = Variant.objects.filter(product__in=product_ids, currency=source)
        kept_count = kept.update(price=0, currency=settings.CURRENCY, is_active=False)
        update_price_ranges(product_ids)
        _delete_empty_products(product_ids)
    return RemovalCounts(len(unused), kept_count)


def _find_unused(skus: list[str]) -> list[str]:
    """Return the SKUs without a history. Their stock rows stay locked, so that no unit is reserved or booked meanwhile."""
    stock = Stock.objects.filter(variant__in=skus).order_by("variant").select_for_update(of=["self"])
    rows = {row.variant_id: row for row in stock}
    moved = StockMovement.objects.filter(sku__in=skus).values_list("sku", flat=True)
    reserved = ReservationLine.objects.filter(sku__in=skus).values_list("sku", flat=True)
    changed = Stock.objects.filter(variant__in=skus).exclude(sequence=0, reserved=0, on_hand=F("initial"))
    used = {*moved, *reserved, *changed.values_list("variant", flat=True)}
    return [sku for sku in rows if sku not in used]


def _audit_removal(variants: list[Variant], unused: list[str], actor: str) -> None:
    rows = [(one.sku, _describe_removal(one, one.sku in unused)) for one in variants]
    execute(
        "inventory",
        """INSERT INTO shop_auditentry (actor, action, object_type, object_id, detail)
           SELECT %s, 'remove price', 'variant', sku, detail FROM unnest(%s::text[], %s::jsonb[]) AS entry (sku, detail)""",
        [actor, [sku for sku, _ in rows], [Jsonb(detail) for _, detail in rows]],
    )
    log_change("inventory", actor=actor, action="remove price", object_type="variant", count=len(rows))


def _describe_removal(variant: Variant, is_deleted: bool) -> dict[str, object]:
    return {"before": {"price": variant.price, "currency": variant.currency}, "is_deleted": is_deleted}


def _delete_empty_products(product_ids: list[UUID]) -> None:
    empty = Product.objects.filter(id__in=product_ids).exclude(Exists(Variant.objects.filter(product=OuterRef("pk"))))
    slugs = list(empty.values_list("category_id", flat=True))
    empty.delete()
    list(Category.objects.filter(slug__in=slugs).order_by("slug").select_for_update())  # against new products in them
    Category.objects.filter(slug__in=slugs).exclude(Exists(Product.objects.filter(category=OuterRef("slug")))).delete()
