"""Queries of inventory's tables and outbox in plain SQL, independent of the application's code."""

from typing import NamedTuple
from uuid import UUID

from shop.db.database import fetch_rows


def stock_of(sku: str) -> tuple[int, int]:
    """Return units on hand and units reserved."""
    [(on_hand, reserved)] = fetch_rows(
        "inventory", "SELECT on_hand, reserved FROM inventory_stock WHERE sku = %s", [sku]
    )
    return on_hand, reserved


def reservation_status_of(order_id: UUID) -> str | None:
    rows = fetch_rows("inventory", "SELECT status FROM inventory_reservation WHERE order_id = %s", [order_id])
    return rows[0][0] if rows else None


def published_events(aggregate: str, key: UUID | str) -> list[tuple[int, str]]:
    """Return sequence and name of the events of a stream, in order."""
    rows = fetch_rows(
        "inventory",
        "SELECT sequence, split_part(name, '.', 2) FROM shop_outboxevent WHERE stream = %s ORDER BY sequence",
        [f"inventory.{aggregate}:{key}"],
    )
    return [(sequence, name) for sequence, name in rows]


def movements(sku: str) -> list[tuple[str, int]]:
    """Return kind and quantity of the stock movements of a SKU, in order."""
    return fetch_rows(
        "inventory", "SELECT kind, quantity FROM inventory_stockmovement WHERE sku = %s ORDER BY id", [sku]
    )


class StockSums(NamedTuple):
    """The stock of a SKU, beside the sums that explain it."""

    sku: str
    on_hand: int
    reserved: int
    moved: int
    held: int


_STOCK_SUMS_SQL = """
SELECT sku, on_hand, reserved,
       initial + coalesce((SELECT sum(quantity) FROM inventory_stockmovement moved WHERE moved.sku = stock.sku), 0),
       coalesce((SELECT sum(quantity) FROM inventory_reservationline line
                 JOIN inventory_reservation held USING (order_id)
                 WHERE line.sku = stock.sku AND held.status = 'held'), 0)
FROM inventory_stock stock"""


def assert_stock_adds_up() -> None:
    """Check invariants 1 to 3 for every SKU (bounds, movements, held reservations), and that streams have no gaps."""
    for row in fetch_rows("inventory", _STOCK_SUMS_SQL):
        stock = StockSums(*row)
        assert 0 <= stock.reserved <= stock.on_hand, stock
        assert stock.on_hand == stock.moved, f"on_hand differs from initial plus movements: {stock}"
        assert stock.reserved == stock.held, f"reserved differs from held reservations: {stock}"
    gaps = fetch_rows(
        "inventory",
        """SELECT stream FROM shop_outboxevent WHERE name LIKE 'inventory.%%'
           GROUP BY stream HAVING min(sequence) <> 1 OR max(sequence) <> count(*)""",
        [],
    )
    assert gaps == []
