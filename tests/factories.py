"""Factories of products, stock and reservations. Each call creates new ones, so that tests do not share them."""

from collections.abc import Iterable
from datetime import timedelta
from uuid import UUID, uuid4

from contexts.inventory.interface import Line, Reservation, inventory
from contexts.inventory.service import seeding

HOLD_DURATION = timedelta(minutes=15)


def create_sku(quantity: int, *, price: int = 1999, name: str = "Mug") -> str:
    """Create a product with one variant and return its SKU. quantity: units on hand."""
    [sku] = create_product((quantity,), price=price, name=name)
    return sku


def create_product(
    quantities: Iterable[int], *, price: int = 1999, name: str = "Mug", category: str = "", slug: str = ""
) -> list[str]:
    """Create a product with one variant for each quantity and return their SKUs.

    The first variant costs `price` minor units, each further one 100 more.
    """
    key = uuid4().hex
    variants = [
        seeding.SeedVariant(sku=f"T-{key[:12]}-{n}", name=f"Size {n}", price=price + 100 * n, stock=quantity)
        for n, quantity in enumerate(quantities)
    ]
    new_category = seeding.SeedCategory(slug=category or f"category-{key}", name="Category")
    product = seeding.SeedProduct(
        slug=slug or f"product-{key}", name=name, category=new_category.slug, variants=variants
    )
    seeding.seed(seeding.SeedCatalogue(currency="EUR", categories=[new_category], products=[product]))
    return [variant.sku for variant in variants]


def order_lines(*quantities: tuple[str, int]) -> tuple[Line, ...]:
    """Build order lines: `order_lines(("MUG", 2))`."""
    return tuple(Line(sku=sku, quantity=quantity) for sku, quantity in quantities)


def reserve_units(
    *quantities: tuple[str, int], order_id: UUID | None = None, hold: timedelta = HOLD_DURATION
) -> Reservation:
    """Reserve units for an order, by default a new one."""
    return inventory.reserve(order_id=order_id or uuid4(), lines=order_lines(*quantities), hold=hold)
