"""Things to buy, made through the front door: each call makes its own, so no test meets another's."""

from collections.abc import Iterable
from datetime import timedelta
from uuid import UUID, uuid4

from contexts.inventory.interface import Line, Reservation, inventory
from contexts.inventory.service import seeding

HOLD = timedelta(minutes=15)


def stocked(quantity: int, *, price: int = 1999, name: str = "Mug") -> str:
    """A fresh SKU of a product of its own, with so many units on the shelf."""
    [sku] = product((quantity,), price=price, name=name)
    return sku


def product(
    quantities: Iterable[int], *, price: int = 1999, name: str = "Mug", category: str = "", slug: str = ""
) -> list[str]:
    """The SKUs of a fresh product: one variant for each quantity, each 100 minor units dearer than the one before."""
    key = uuid4().hex
    variants = [
        seeding.SeedVariant(sku=f"T-{key[:12]}-{n}", name=f"Size {n}", price=price + 100 * n, stock=quantity)
        for n, quantity in enumerate(quantities)
    ]
    shelf = seeding.SeedCategory(slug=category or f"shelf-{key}", name="Shelf")
    goods = seeding.SeedProduct(slug=slug or f"goods-{key}", name=name, category=shelf.slug, variants=variants)
    seeding.seed(seeding.Catalogue(currency="EUR", categories=[shelf], products=[goods]))
    return [variant.sku for variant in variants]


def lines(*wanted: tuple[str, int]) -> tuple[Line, ...]:
    """`lines(("MUG", 2))`: order lines."""
    return tuple(Line(sku=sku, quantity=quantity) for sku, quantity in wanted)


def reserved(*wanted: tuple[str, int], order_id: UUID | None = None, hold: timedelta = HOLD) -> Reservation:
    """A reservation for a fresh order, or for this one."""
    return inventory.reserve(order_id=order_id or uuid4(), lines=lines(*wanted), hold=hold)
