"""Stock: the one statement that changes it, and what staff do to it."""

from collections.abc import Mapping
from typing import NamedTuple
from uuid import UUID

from contexts.inventory.events import BackInStock, SoldOut
from contexts.inventory.interface import UnknownSku
from shop.audit import audit
from shop.database import Prepared, rows, transaction
from shop.errors import Conflict, Invalid
from shop.outbox import publish


class BelowReserved(Conflict):
    """{reserved} of the {on_hand} units of {sku} are reserved for orders and cannot be taken away."""

    sku: str
    on_hand: int
    reserved: int


class NothingToAdjust(Invalid):
    """An adjustment by 0 units changes nothing."""


class Shift(NamedTuple):
    """What becomes of each unit: how `on_hand` and `reserved` change by it, and the movement that this is, if one."""

    on_hand: int
    reserved: int
    kind: str = ""


TAKE, FREE = Shift(0, +1), Shift(0, -1)
SELL, RESTOCK = Shift(-1, -1, "sale"), Shift(+1, 0, "restock")
RECEIVE, ADJUST = Shift(+1, 0, "receipt"), Shift(+1, 0, "adjustment")


class Level(NamedTuple):
    """The stock of one SKU after a shift of `quantity` units."""

    sku: str
    quantity: int
    on_hand: int
    reserved: int
    sequence: int

    @property
    def available(self) -> int:
        return self.on_hand - self.reserved


# Rows are locked in the order of their SKUs before the first is changed, so that two orders never wait for each other.
# The locks stay when the condition is not met: what is read after that is why.
_SHIFT = Prepared("""
WITH locked AS MATERIALIZED (
    SELECT sku, quantity,
           on_hand + %(on_hand)s * quantity AS next_on_hand,
           reserved + %(reserved)s * quantity AS next_reserved
    FROM inventory_stock JOIN unnest(%(skus)s::text[], %(quantities)s::bigint[]) AS wanted (sku, quantity) USING (sku)
    ORDER BY sku FOR UPDATE OF inventory_stock),
shifted AS (
    UPDATE inventory_stock stock
    SET on_hand = next_on_hand,
        reserved = next_reserved,
        sequence = sequence + ((on_hand > reserved) <> (next_on_hand > next_reserved))::int
    FROM locked
    WHERE stock.sku = locked.sku
      AND %(count)s = (SELECT count(*) FROM locked WHERE next_on_hand >= next_reserved)
    RETURNING stock.sku, quantity, on_hand, reserved, sequence),
moved AS (
    INSERT INTO inventory_stockmovement (sku, kind, quantity, order_id, actor, note)
    SELECT sku, %(kind)s, %(on_hand)s * quantity, %(order_id)s::uuid, %(actor)s, %(note)s
    FROM shifted WHERE %(on_hand)s <> 0)
SELECT sku, quantity, on_hand, reserved, sequence FROM shifted ORDER BY sku""")


def shift(
    how: Shift, demand: Mapping[str, int], *, order_id: UUID | None = None, actor: str = "orders", note: str = ""
) -> list[Level]:
    """Shift so many units of each SKU, all of them or none: an empty list where one is unknown or has too few."""
    parameters = {
        "on_hand": how.on_hand, "reserved": how.reserved, "kind": how.kind, "skus": list(demand),
        "quantities": list(demand.values()), "count": len(demand), "order_id": order_id, "actor": actor, "note": note,
    }  # fmt: skip
    return [Level(*row) for row in rows("inventory", _SHIFT, parameters)]


def settle(how: Shift, demand: Mapping[str, int], order_id: UUID) -> list[Level]:
    """Shift what a reservation set aside before, which cannot fail; a tombstone holds nothing."""
    levels = shift(how, demand, order_id=order_id) if demand else []
    if len(levels) != len(demand):
        raise RuntimeError(f"the stock does not hold what was set aside for order {order_id}")
    return levels


def announce(how: Shift, levels: list[Level]) -> None:
    """Publish for each SKU that the shift sold out or brought back. Comes last in its transaction."""
    for level in levels:
        before = level.available - (how.on_hand - how.reserved) * level.quantity
        if before > 0 >= level.available:
            publish(SoldOut(sku=level.sku), sequence=level.sequence)
        elif level.available > 0 >= before:
            publish(BackInStock(sku=level.sku), sequence=level.sequence)


def available(skus: list[str]) -> dict[str, int]:
    """Units of each SKU that can be bought at this moment."""
    sql = "SELECT sku, on_hand - reserved FROM inventory_stock WHERE sku = ANY(%s)"
    return dict(rows("inventory", sql, [skus]))


def receive(*, sku: str, quantity: int, reference: str, actor: str) -> Level:
    """Put delivered units on the shelf. Raises UnknownSku."""
    return _book(RECEIVE, sku, quantity, actor=actor, note=reference)


def adjust(*, sku: str, quantity: int, reason: str, actor: str) -> Level:
    """Correct the count on the shelf by a signed number of units. Raises BelowReserved, UnknownSku, NothingToAdjust."""
    if not quantity:
        raise NothingToAdjust
    return _book(ADJUST, sku, quantity, actor=actor, note=reason)


def _book(how: Shift, sku: str, quantity: int, *, actor: str, note: str) -> Level:
    with transaction("inventory"):
        levels = shift(how, {sku: quantity}, actor=actor, note=note)
        if not levels:
            raise _refusal(sku)
        audit(
            "inventory", actor=actor, action=how.kind, object_type="stock", object_id=sku,
            quantity=quantity, on_hand=levels[0].on_hand, note=note,
        )  # fmt: skip
        announce(how, levels)
    return levels[0]


def _refusal(sku: str) -> UnknownSku | BelowReserved:
    found = rows("inventory", "SELECT on_hand, reserved FROM inventory_stock WHERE sku = %s", [sku])
    if not found:
        return UnknownSku(sku=sku)
    [(on_hand, reserved)] = found
    return BelowReserved(sku=sku, on_hand=on_hand, reserved=reserved)
