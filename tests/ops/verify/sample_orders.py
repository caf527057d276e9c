"""Create orders in every final state through the API: the rows that test_invariants corrupts."""

import uuid

import pytest

from contexts.inventory.interface import OutOfStock
from contexts.inventory.service import stock
from contexts.payments.service import refunds
from shop.db.database import execute, fetch_rows
from tests.engine_driver import run_until_idle
from tests.factories import create_sku, reserve_units
from tests.shopper import InProcessShopper

STAFF = "clerk@satsuma.example"


def create_sample_orders() -> dict[str, str]:
    """Create the sample orders; return their ids by outcome, and ids of rows that belong to them."""
    customer, guest = InProcessShopper(), InProcessShopper()
    email = customer.register()
    sku, rare = create_sku(50), create_sku(5)
    new_ids = {name: str(uuid.uuid4()) for name in ("unknown", "cart", "unserved")}
    stock.receive(sku=sku, quantity=1, reference="D-1", actor=STAFF)
    orders = {
        "bought": customer.order(sku, email=None, items=[{"sku": sku, "quantity": 2}]).body["id"],
        "refunded": guest.order(sku).body["id"],
        "waiting": guest.order(rare, token="tok_requires_action").body["id"],
        "on_hold": guest.buy(sku, token="tok_capture_refused")["id"],
        "refused": guest.order(rare, items=[{"sku": rare, "quantity": 9}]).body["facts"]["order_id"],
        "returned": _cancelled(guest, sku, "tok_ok"),
        "voided": _cancelled(guest, sku, "tok_requires_action"),
    }
    with pytest.raises(OutOfStock):
        reserve_units((rare, 9), order_id=uuid.UUID(new_ids["unserved"]))
    run_until_idle()
    refunds.refund(payment_id=_payment(orders["refunded"]), amount=None, reason="A gift.", actor=STAFF, key=None)
    run_until_idle()
    _postpone_due_work(list(orders.values()))
    return orders | {"sku": sku, "rare": rare} | _related_ids(orders, email) | new_ids


def _postpone_due_work(orders: list[str]) -> None:
    """Postpone all due times by an hour: the tests run no timers, so nothing may become overdue."""
    for context, table, key in (
        ("orders", "orders_order", "id"),
        ("payments", "payments_payment", "order_id"),
        ("notifications", "notifications_message", "order_id"),
    ):
        later = f"UPDATE {table} SET due_at = now() + interval '1 hour' WHERE due_at IS NOT NULL AND {key} = ANY(%s::uuid[])"
        execute(context, later, [orders])


def _cancelled(guest: InProcessShopper, sku: str, token: str) -> str:
    order = guest.order(sku, token=token).body
    run_until_idle()
    guest.post(f"orders/{order['id']}/cancel", X_Order_Token=order["token"])
    return order["id"]


def _payment(order_id: str) -> str:
    return _fetch_id("payments", "SELECT id FROM payments_payment WHERE order_id = %s", order_id)


def _related_ids(orders: dict[str, str], email: str) -> dict[str, str]:
    """Return ids of rows that belong to the orders."""
    user = _fetch_id("users", "SELECT id FROM users_user WHERE email = %s", email)
    mail = "SELECT id FROM notifications_message WHERE order_id = %s AND channel = 'email'"
    confirmed = "SELECT id FROM shop_outboxevent WHERE name = 'orders.order_confirmed' AND stream = %s"
    return {
        "user": user,
        "family": _fetch_id("users", "SELECT id FROM users_tokenfamily WHERE user_id = %s", user),
        "bought_payment": _payment(orders["bought"]),
        "refunded_payment": _payment(orders["refunded"]),
        "mail": _fetch_id("notifications", mail, orders["bought"]),
        "confirmed": _fetch_id("orders", confirmed, f"orders.order:{orders['bought']}"),
    }


def _fetch_id(alias: str, sql: str, key: str) -> str:
    [(found,)] = fetch_rows(alias, sql, [key])
    return str(found)
