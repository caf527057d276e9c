"""Stock: the one statement that changes it, and the operations of staff."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from contexts.inventory.events import BackInStock, SoldOut
from contexts.inventory.interface import UnknownSku
from contexts.inventory.models import StockMovement
from shop.audit import audit
from shop.db.database import PreparedStatement, execute, fetch_rows, transaction
from shop.errors import Conflict, Invalid
from shop.messaging.outbox import publish
from shop.versions import assert_version, compute_version

MovementKind = StockMovement.Kind


class BelowReserved(Conflict):
    """{reserved} of the {on_hand:unit} of {sku} cannot be removed, because of orders that have reserved stock."""

    sku: str
    on_hand: int
    reserved: int


class NothingToAdjust(Invalid):
    """The quantity of an adjustment must not be 0."""


class StockChange(NamedTuple):
    """The change of `on_hand` and `reserved` per unit, and the kind of the movement if `on_hand` changes."""

    on_hand: int
    reserved: int
    kind: str = ""


RESERVE, RELEASE = StockChange(0, +1), StockChange(0, -1)
SELL, RESTOCK = StockChange(-1, -1, MovementKind.SALE.value), StockChange(+1, 0, MovementKind.RESTOCK.value)
RECEIVE, ADJUST = StockChange(+1, 0, MovementKind.RECEIPT.value), StockChange(+1, 0, MovementKind.ADJUSTMENT.value)


class StockLine(NamedTuple):
    """Units of one SKU, and the order for which they are changed, if there is one."""

    order_id: UUID | None
    sku: str
    quantity: int


class StockLevel(NamedTuple):
    """The stock of one SKU after a change of `quantity` units."""

    sku: str
    quantity: int
    on_hand: int
    reserved: int
    sequence: int

    @property
    def available(self) -> int:
        return self.on_hand - self.reserved


# Rows are locked in the order of their SKUs before the first one is changed, so that concurrent orders never deadlock.
# The locks are kept if the condition is not met, so that the caller can read the reason.
_CHANGE_STOCK_SQL = PreparedStatement("""
WITH lines AS (
    SELECT * FROM unnest(%(order_ids)s::uuid[], %(skus)s::text[], %(quantities)s::bigint[]) AS line (order_id, sku, quantity)),
wanted AS (SELECT sku, sum(quantity)::bigint AS quantity FROM lines GROUP BY sku),
locked AS MATERIALIZED (
    SELECT sku, quantity,
           on_hand + %(on_hand)s * quantity AS next_on_hand,
           reserved + %(reserved)s * quantity AS next_reserved
    FROM inventory_stock JOIN wanted USING (sku)
    ORDER BY sku FOR UPDATE OF inventory_stock),
shifted AS (
    UPDATE inventory_stock stock
    SET on_hand = next_on_hand,
        reserved = next_reserved,
        sequence = sequence + ((on_hand > reserved) <> (next_on_hand > next_reserved))::int
    FROM locked
    WHERE stock.sku = locked.sku
      AND (SELECT count(*) FROM wanted) = (SELECT count(*) FROM locked WHERE next_on_hand >= next_reserved)
    RETURNING stock.sku, quantity, on_hand, reserved, sequence),
moved AS (
    INSERT INTO inventory_stockmovement (sku, kind, quantity, order_id, actor, note, uid)
    SELECT sku, %(kind)s, %(on_hand)s * lines.quantity, order_id, %(actor)s, %(note)s, %(uid)s::uuid
    FROM lines JOIN shifted USING (sku) WHERE %(on_hand)s <> 0)
SELECT sku, quantity, on_hand, reserved, sequence FROM shifted ORDER BY sku""")


def change_stock(
    change: StockChange,
    demand: Mapping[str, int],
    *,
    order_id: UUID | None = None,
    actor: str = "orders",
    note: str = "",
    uid: UUID | None = None,
) -> list[StockLevel]:
    """Apply a change to these units of each SKU, either all or none.

    Returns an empty list if a SKU is unknown or out of stock.
    """
    return _change(change, [StockLine(order_id, *item) for item in demand.items()], actor=actor, note=note, uid=uid)


def sell(orders: Mapping[UUID, Mapping[str, int]]) -> None:
    """Take the reserved units of these orders off the stock, which cannot fail."""
    lines = [StockLine(order_id, *item) for order_id, demand in orders.items() for item in demand.items()]
    if lines and not _change(SELL, lines):
        raise RuntimeError(f"the stock has fewer units than are reserved for the orders {', '.join(map(str, orders))}")


def _change(
    change: StockChange, lines: Sequence[StockLine], *, actor: str = "orders", note: str = "", uid: UUID | None = None
) -> list[StockLevel]:
    values = {
        "on_hand": change.on_hand,
        "reserved": change.reserved,
        "kind": change.kind,
        "order_ids": [line.order_id for line in lines],
        "skus": [line.sku for line in lines],
        "quantities": [line.quantity for line in lines],
        "actor": actor,
        "note": note,
        "uid": uid,
    }
    return [StockLevel(*row) for row in fetch_rows("inventory", _CHANGE_STOCK_SQL, values)]


def settle_reservation(change: StockChange, demand: Mapping[str, int], order_id: UUID) -> list[StockLevel]:
    """Apply a change to units that are reserved, which cannot fail. A tombstone has no units."""
    levels = change_stock(change, demand, order_id=order_id) if demand else []
    if len(levels) != len(demand):
        raise RuntimeError(f"the stock has fewer units than are reserved for order {order_id}")
    return levels


def publish_availability_changes(change: StockChange, levels: list[StockLevel]) -> None:
    """Publish SoldOut or BackInStock for each SKU whose availability changed.

    Call it last in the transaction, so that all transactions write to the stock streams in the same lock order: after the
    stream of the reservation.
    """
    for level in levels:
        before = level.available - (change.on_hand - change.reserved) * level.quantity
        if before > 0 >= level.available:
            publish(SoldOut(sku=level.sku), row=level)
        elif level.available > 0 >= before:
            publish(BackInStock(sku=level.sku), row=level)


def get_available(skus: list[str]) -> dict[str, int]:
    """Return the units of each SKU that can be bought now. Unknown SKUs are omitted."""
    sql = "SELECT sku, on_hand - reserved FROM inventory_stock WHERE sku = ANY(%s)"
    return dict(fetch_rows("inventory", sql, [skus]))


def receive(*, sku: str, quantity: int, reference: str, actor: str, uid: UUID | None = None) -> StockLevel:
    """Add delivered units to the stock. Raises UnknownSku.

    uid: id of the movement, which the idempotency key of the request names.
    """
    return _change_audited(RECEIVE, sku, quantity, actor=actor, note=reference, uid=uid)


def adjust(
    *, sku: str, quantity: int, reason: str, actor: str, uid: UUID | None = None, expected_version: str = ""
) -> StockLevel:
    """Correct the stock by a signed number of units.

    uid: as for `receive`.
    Raises BelowReserved, UnknownSku, NothingToAdjust; PreconditionFailed if the stock has another version.
    """
    if not quantity:
        raise NothingToAdjust
    return _change_audited(ADJUST, sku, quantity, actor=actor, note=reason, uid=uid, expected_version=expected_version)


def get_version(sku: str) -> str:
    """Return the version of a stock. It changes when staff receive or correct units, but not with each sale."""
    staff_kinds = (MovementKind.RECEIPT, MovementKind.ADJUSTMENT)
    latest = StockMovement.objects.filter(sku=sku, kind__in=staff_kinds).order_by("-id").values_list("id").first()
    return compute_version(sku, latest)


def _assert_version(sku: str, expected: str) -> None:
    if expected:
        execute("inventory", "SELECT FROM inventory_stock WHERE sku = %s FOR UPDATE", [sku])
        assert_version("inventory", "stock", sku, current=get_version(sku), expected=expected)


def _change_audited(
    change: StockChange, sku: str, quantity: int, *, actor: str, note: str, uid: UUID | None, expected_version: str = ""
) -> StockLevel:
    with transaction("inventory"):
        _assert_version(sku, expected_version)
        levels = change_stock(change, {sku: quantity}, actor=actor, note=note, uid=uid)
        if not levels:
            raise _find_refusal(sku)
        [level] = levels
        detail = {"quantity": quantity, "on_hand": level.on_hand, "note": note}
        audit("inventory", actor=actor, action=change.kind, object_type="stock", object_id=sku, **detail)
        publish_availability_changes(change, levels)
    return level


def _find_refusal(sku: str) -> UnknownSku | BelowReserved:
    rows = fetch_rows("inventory", "SELECT on_hand, reserved FROM inventory_stock WHERE sku = %s", [sku])
    if not rows:
        return UnknownSku(sku=sku, skus=(sku,))
    [(on_hand, reserved)] = rows
    return BelowReserved(sku=sku, on_hand=on_hand, reserved=reserved)
