"""A process that was suspended for longer than its leases last writes nothing when it continues."""

import os
import signal

import pytest

from contexts.orders.service.views import make_guest_token
from shop.db.database import fetch_rows
from tests.chaos import final_states
from tests.chaos.flows import Purchase
from tests.concurrency import eventually
from tests.factories import create_sku
from tests.shopper import InProcessShopper

pytestmark = pytest.mark.usefixtures("verified")

POINT = "call.payments.authorize.after"  # with loopback the first of two: the order is authorized next
LEASE_SQL = "SELECT lease_until IS NOT NULL FROM orders_order WHERE id = %s"
EVENTS_SQL = "SELECT name FROM shop_outboxevent WHERE stream = %s ORDER BY sequence"


def stop_at_point(point: str, server, purchase: Purchase, file) -> int:
    """Start a process that places the order, and suspend it (SIGSTOP) at a point where it holds the order's lease.

    The delay is how long this process may take to send the signal; it is shorter than the lease, so it costs no time.
    """
    pid = server.begin(purchase, f"{point}:1:delay=4", record=str(file))
    eventually(lambda: file.exists() and point in file.read_text().split())
    os.kill(pid, signal.SIGSTOP)
    return pid


def cancel(order_id: str) -> int:
    return InProcessShopper().post(f"orders/{order_id}/cancel", X_Order_Token=make_guest_token(order_id)).status


def test_a_resumed_process_leaves_its_cancelled_order_unchanged(server, tmp_path):
    purchase = Purchase.of("buy", create_sku(2))
    pid = stop_at_point(POINT, server, purchase, tmp_path / "points")
    [[order_id]] = final_states.order_ids_by_email([purchase.email]).values()
    assert fetch_rows("orders", LEASE_SQL, [order_id]) == [(True,)], "the suspended process holds it"
    eventually(lambda: cancel(order_id) == 200)
    published = fetch_rows("orders", EVENTS_SQL, [f"orders.order:{order_id}"])
    os.kill(pid, signal.SIGCONT)
    outcome = server.end(pid)
    assert outcome["answers"] == [409], "the order was cancelled"
    assert outcome["is_finished"]
    [state] = final_states.load_final_states([purchase.email])[purchase.email]
    assert (state.status, state.step, state.payment, state.reservation) == ("cancelled", "closed", "voided", "released")
    assert (
        fetch_rows("orders", EVENTS_SQL, [f"orders.order:{order_id}"])
        == published
        == [("orders.order_placed",), ("orders.order_cancelled",)]
    )
