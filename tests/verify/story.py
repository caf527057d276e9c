"""A little of everything that the shop knows, made through the front door: what the plants of test_invariants corrupt."""

import uuid

import pytest

from contexts.inventory.interface import OutOfStock
from contexts.inventory.service import stock
from contexts.payments.service import refunds
from shop.database import changed, rows
from tests.inventory.stock import reserved, stocked
from tests.orders.clockwork import run_until_idle
from tests.shopper import InProcess

STAFF = "clerk@satsuma.example"


def told() -> dict[str, str]:
    """Orders that went every way, by what became of them, and what belongs to them."""
    customer, guest = InProcess(), InProcess()
    email = customer.register()
    sku, rare = stocked(50), stocked(5)
    strangers = {name: str(uuid.uuid4()) for name in ("nobody", "cart", "unserved")}
    stock.receive(sku=sku, quantity=1, reference="D-1", actor=STAFF)
    orders = {
        "bought": customer.order(sku, email=None, items=[{"sku": sku, "quantity": 2}]).body["id"],
        "refunded": guest.order(sku).body["id"],
        "waiting": guest.order(rare, token="tok_requires_action").body["id"],
        "on_hold": guest.order(sku, token="tok_capture_refused").body["id"],
        "refused": guest.order(rare, items=[{"sku": rare, "quantity": 9}]).body["facts"]["order_id"],
        "returned": _cancelled(guest, sku, "tok_ok"),
        "voided": _cancelled(guest, sku, "tok_requires_action"),
    }
    with pytest.raises(OutOfStock):
        reserved((rare, 9), order_id=uuid.UUID(strangers["unserved"]))
    run_until_idle()
    refunds.refund(payment_id=_payment(orders["refunded"]), amount=None, reason="A gift.", actor=STAFF, key=None)
    _put_off(list(orders.values()))
    return orders | {"sku": sku, "rare": rare} | _belongings(orders, email) | strangers


def _put_off(orders: list[str]) -> None:
    """What waits goes on waiting in good order, although nobody runs a timer here."""
    for context, table, key in (
        ("orders", "orders_order", "id"),
        ("payments", "payments_payment", "order_id"),
        ("notifications", "notifications_message", "order_id"),
    ):
        later = f"UPDATE {table} SET due_at = now() + interval '1 hour' WHERE due_at IS NOT NULL AND {key} = ANY(%s::uuid[])"
        changed(context, later, [orders])


def _cancelled(guest: InProcess, sku: str, token: str) -> str:
    order = guest.order(sku, token=token).body
    run_until_idle()
    guest.post(f"orders/{order['id']}/cancel", X_Order_Token=order["token"])
    return order["id"]


def _payment(order_id: str) -> str:
    return _one("payments", "SELECT id FROM payments_payment WHERE order_id = %s", order_id)


def _belongings(orders: dict[str, str], email: str) -> dict[str, str]:
    """Keys of rows that belong to the orders."""
    user = _one("users", "SELECT id FROM users_user WHERE email = %s", email)
    mail = "SELECT id FROM notifications_message WHERE order_id = %s AND channel = 'email'"
    confirmed = "SELECT id FROM shop_outboxevent WHERE name = 'orders.order_confirmed' AND stream = %s"
    return {
        "user": user,
        "family": _one("users", "SELECT id FROM users_tokenfamily WHERE user_id = %s", user),
        "bought_payment": _payment(orders["bought"]),
        "refunded_payment": _payment(orders["refunded"]),
        "mail": _one("notifications", mail, orders["bought"]),
        "confirmed": _one("orders", confirmed, f"orders.order:{orders['bought']}"),
    }


def _one(alias: str, sql: str, key: str) -> str:
    [(found,)] = rows(alias, sql, [key])
    return str(found)
