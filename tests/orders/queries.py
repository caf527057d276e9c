"""Read the state of orders, stock and payments in plain SQL that shares no code with the application."""

from uuid import UUID

from shop.db.database import fetch_rows


def status_and_step_of(order_id: UUID | str) -> tuple[str, str]:
    """Return status and step of an order."""
    return fetch_rows("orders", "SELECT status, step FROM orders_order WHERE id = %s", [order_id])[0]


def stock_of(sku: str) -> tuple[int, int]:
    """Return the units on hand and reserved."""
    [(on_hand, reserved)] = fetch_rows(
        "inventory", "SELECT on_hand, reserved FROM inventory_stock WHERE sku = %s", [sku]
    )
    return on_hand, reserved


def reservation_of(order_id: UUID | str) -> str | None:
    found = fetch_rows("inventory", "SELECT status FROM inventory_reservation WHERE order_id = %s", [order_id])
    return found[0][0] if found else None


def payment_of(order_id: UUID | str) -> str | None:
    found = fetch_rows("payments", "SELECT status FROM payments_payment WHERE order_id = %s AND amount > 0", [order_id])
    return found[0][0] if found else None


def count_charges(order_id: UUID | str) -> int:
    """Count the charges for the order in the records of the provider."""
    [(count,)] = fetch_rows(
        "payments",
        """SELECT coalesce(sum(charges), 0)::int FROM payments_sandboxintent WHERE reference IN
             (SELECT reference FROM payments_payment WHERE order_id = %s)""",
        [order_id],
    )
    return count


def assert_stock_adds_up(sku: str) -> None:
    """Assert that movements add up to the units on hand, and open reservations to the reserved units."""
    [(on_hand, explained, reserved, held)] = fetch_rows(
        "inventory",
        """SELECT on_hand, initial + coalesce((SELECT sum(quantity) FROM inventory_stockmovement m WHERE m.sku = s.sku), 0),
                  reserved, coalesce((SELECT sum(l.quantity) FROM inventory_reservationline l
                    JOIN inventory_reservation r ON r.order_id = l.order_id WHERE l.sku = s.sku AND r.status = 'held'), 0)
           FROM inventory_stock s WHERE sku = %s""",
        [sku],
    )
    assert (on_hand, reserved) == (explained, held)
    assert 0 <= reserved <= on_hand
