"""What the database and the outbox say, in plain SQL that shares no code with the application."""

from typing import Any

from shop.database import rows


def stock_of(sku: str) -> tuple[int, int]:
    """On hand and reserved."""
    [found] = rows("inventory", "SELECT on_hand, reserved FROM inventory_stock WHERE sku = %s", [sku])
    return found


def status_of(order_id: Any) -> str | None:
    found = rows("inventory", "SELECT status FROM inventory_reservation WHERE order_id = %s", [order_id])
    return found[0][0] if found else None


def facts(aggregate: str, key: Any) -> list[tuple[int, str]]:
    """Sequence and name of what was announced in a stream, in order."""
    found = rows(
        "inventory",
        "SELECT sequence, split_part(name, '.', 2) FROM shop_outboxevent WHERE stream = %s ORDER BY sequence",
        [f"inventory.{aggregate}:{key}"],
    )
    return [(sequence, name) for sequence, name in found]


def movements(sku: str) -> list[tuple[str, int]]:
    return rows("inventory", "SELECT kind, quantity FROM inventory_stockmovement WHERE sku = %s ORDER BY id", [sku])


_BROKEN = """
SELECT sku, on_hand, reserved,
       initial + coalesce((SELECT sum(quantity) FROM inventory_stockmovement moved WHERE moved.sku = stock.sku), 0),
       coalesce((SELECT sum(quantity) FROM inventory_reservationline line
                 JOIN inventory_reservation held USING (order_id)
                 WHERE line.sku = stock.sku AND held.status = 'held'), 0)
FROM inventory_stock stock"""


def assert_stock_adds_up() -> None:
    """Invariants 1 to 3: bounds, ledger, open reservations; and gap-free streams, for every SKU there is."""
    for sku, on_hand, reserved, explained, held in rows("inventory", _BROKEN):
        assert 0 <= reserved <= on_hand, sku
        assert on_hand == explained, f"{sku}: {on_hand} on hand, the ledger says {explained}"
        assert reserved == held, f"{sku}: {reserved} reserved, open reservations hold {held}"
    gaps = rows(
        "inventory",
        """SELECT stream FROM shop_outboxevent WHERE name LIKE 'inventory.%%'
           GROUP BY stream HAVING min(sequence) <> 1 OR max(sequence) <> count(*)""",
        [],
    )
    assert gaps == []
