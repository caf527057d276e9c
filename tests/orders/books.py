"""What the databases say, in plain SQL that shares no code with the application."""

from typing import Any

from shop.database import rows


def orders_of_id(order_id: Any) -> tuple[str, str]:
    """Status and step."""
    return rows("orders", "SELECT status, step FROM orders_order WHERE id = %s", [order_id])[0]


def stock_of(sku: str) -> tuple[int, int]:
    """On hand and reserved."""
    [(on_hand, reserved)] = rows("inventory", "SELECT on_hand, reserved FROM inventory_stock WHERE sku = %s", [sku])
    return on_hand, reserved


def reservation_of(order_id: Any) -> str | None:
    found = rows("inventory", "SELECT status FROM inventory_reservation WHERE order_id = %s", [order_id])
    return found[0][0] if found else None


def payment_of(order_id: Any) -> str | None:
    found = rows("payments", "SELECT status FROM payments_payment WHERE order_id = %s AND amount > 0", [order_id])
    return found[0][0] if found else None


def charges(order_id: Any) -> int:
    """How often the provider set money aside for the order, by the provider's own books."""
    [(count,)] = rows(
        "payments",
        """SELECT coalesce(sum(charges), 0)::int FROM payments_sandboxintent WHERE reference IN
             (SELECT reference FROM payments_payment WHERE order_id = %s)""",
        [order_id],
    )
    return count


def units_add_up(sku: str) -> None:
    """Invariants of the stock: the ledger explains what is on hand, open reservations what is reserved."""
    [(on_hand, explained, reserved, held)] = rows(
        "inventory",
        """SELECT on_hand, initial + coalesce((SELECT sum(quantity) FROM inventory_stockmovement m WHERE m.sku = s.sku), 0),
                  reserved, coalesce((SELECT sum(l.quantity) FROM inventory_reservationline l
                    JOIN inventory_reservation r ON r.order_id = l.order_id WHERE l.sku = s.sku AND r.status = 'held'), 0)
           FROM inventory_stock s WHERE sku = %s""",
        [sku],
    )
    assert (on_hand, reserved) == (explained, held)
    assert 0 <= reserved <= on_hand
