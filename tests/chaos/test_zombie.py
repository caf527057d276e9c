"""A process that was stopped for longer than its leases last, while others went on: it writes nothing more."""

import os
import signal

import pytest

from contexts.orders.service import checkout
from shop.database import rows
from tests.chaos import aftermath
from tests.chaos.flows import Purchase
from tests.inventory.stock import stocked
from tests.shopper import InProcess
from tests.threads import eventually

pytestmark = pytest.mark.usefixtures("verified")

POINT = "call.payments.authorize.after"  # under loopback the first of two: it is about to go on to the promise
FACTS = "SELECT name FROM shop_outboxevent WHERE stream = %s ORDER BY sequence"


def stopped_at(point: str, server, purchase: Purchase, file) -> int:
    """A process that is buying, stopped by SIGSTOP where it holds the order's lease."""
    pid = server.begin(purchase, f"{point}:1:delay=1", record=str(file))
    eventually(lambda: file.exists() and point in file.read_text().split())
    os.kill(pid, signal.SIGSTOP)
    return pid


def cancel(order_id: str) -> int:
    return InProcess().post(f"orders/{order_id}/cancel", X_Order_Token=checkout.token_of(order_id)).status


def test_who_was_stopped_finds_its_order_cancelled_and_leaves_it_so(server, tmp_path):
    purchase = Purchase.of("buy", stocked(2))
    pid = stopped_at(POINT, server, purchase, tmp_path / "points")
    [[order_id]] = aftermath.orders_of([purchase.email]).values()
    assert cancel(order_id) == 202, "its lease is still alive"
    eventually(lambda: cancel(order_id) == 200)
    told = rows("orders", FACTS, [f"orders.order:{order_id}"])
    os.kill(pid, signal.SIGCONT)
    outcome = server.end(pid)
    assert outcome["answers"] == [409], "the order was cancelled"
    assert outcome["rest"]
    [fate] = aftermath.fates([purchase.email])[purchase.email]
    assert (fate.status, fate.step, fate.payment, fate.reservation) == ("cancelled", "closed", "voided", "released")
    assert (
        rows("orders", FACTS, [f"orders.order:{order_id}"])
        == told
        == [("orders.order_placed",), ("orders.order_cancelled",)]
    )
