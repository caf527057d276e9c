"""A shop that one test kills, stops or reads the log of: no other engine works on the databases meanwhile."""

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from shop.db.database import fetch_rows
from tests.concurrency import eventually
from tests.factories import create_sku
from tests.journeys.running_shop import start_shop
from tests.orders.queries import assert_stock_adds_up, count_charges, stock_of
from tests.shopper import ADDRESS

pytestmark = pytest.mark.usefixtures("verified")


@contextmanager
def running_buyers(count: int, buy: Callable[[threading.Event], None]) -> Iterator[threading.Event]:
    """Run `buy` in threads. Its argument is the event that stops it, which is set at the end of the block, whatever fails."""
    stop = threading.Event()
    buyers = [threading.Thread(target=buy, args=[stop]) for _ in range(count)]
    for buyer in buyers:
        buyer.start()
    try:
        yield stop
    finally:
        stop.set()
        for buyer in buyers:
            buyer.join()


def test_a_shop_killed_under_load_loses_and_duplicates_nothing(launch_shop):
    shop = launch_shop()
    stock = 100_000  # more than can be sold until the last restart, however long it takes
    shopper, sku, email = shop.shopper(), create_sku(stock), f"{uuid.uuid4().hex}@example.com"
    acknowledged: dict[str, dict] = {}
    lock = threading.Lock()

    def buy(stop: threading.Event) -> None:
        while not stop.is_set():
            key = uuid.uuid4().hex
            for _ in range(200):  # retry until the response is final
                try:
                    answer = shopper.order(sku, key=key, email=email)
                except OSError:
                    if stop.wait(0.1):
                        return
                    continue
                if answer.status == 201:
                    with lock:
                        acknowledged[key] = answer.body
                    break
                time.sleep(0.1)  # less than Retry-After asks for, to keep the test short

    with running_buyers(4, buy):
        for _ in range(3):
            await_more_orders(acknowledged)
            shop.kill()
            shop.start()
        await_more_orders(acknowledged)
    eventually(lambda: all_orders_finished(email))
    orders = {
        str(order_id) for (order_id,) in fetch_rows("orders", "SELECT id FROM orders_order WHERE email = %s", [email])
    }
    confirmed = fetch_rows("orders", "SELECT id FROM orders_order WHERE email = %s AND status = 'confirmed'", [email])
    assert {order["id"] for order in acknowledged.values()} <= orders
    assert len({order["id"] for order in acknowledged.values()}) == len(acknowledged), "one order for each key"
    eventually(lambda: stock_of(sku) == (stock - len(confirmed), 0))
    assert_stock_adds_up(sku)
    assert all(count_charges(order_id) == 1 for (order_id,) in confirmed)
    shop.stop()


def await_more_orders(acknowledged: dict[str, dict], more: int = 5) -> None:
    expected = len(acknowledged) + more
    eventually(lambda: len(acknowledged) >= expected)


def all_orders_finished(email: str) -> bool:
    waiting = fetch_rows(
        "orders", "SELECT count(*) FROM orders_order WHERE email = %s AND step NOT IN ('done', 'closed')", [email]
    )
    return waiting[0][0] == 0


def test_a_stopping_shop_finishes_its_requests(launch_shop):
    shop = launch_shop()
    shopper, sku = shop.shopper(), create_sku(40)
    answers: list[int] = []
    failed: list[str] = []

    def buy(stop: threading.Event) -> None:
        while not stop.is_set():
            email = f"{uuid.uuid4().hex}@example.com"
            try:
                answers.append(shopper.order(sku, email=email).status)
            except OSError:
                failed.append(email)  # the shop has stopped listening

    with running_buyers(3, buy):
        eventually(lambda: len(answers) >= 6)
        assert shop.stop() == 0
    assert set(answers) <= {201, 409}
    started = fetch_rows("orders", "SELECT count(*) FROM orders_order WHERE email = ANY(%s)", [failed])
    assert started == [(0,)], "a request that was started has no response"


def test_every_log_line_is_json_with_a_correlation_id(tmp_path, launch_shop):
    lines = tmp_path / "log"
    with lines.open("w") as file:
        shop = launch_shop(file, LOG_LEVEL="INFO", LOG_FORMAT="json")
        order = shop.shopper().post(
            "orders",
            {
                "items": [{"sku": create_sku(1), "quantity": 1}],
                "email": "canary-address@example.com",
                "shipping_address": ADDRESS | {"name": "Canary Name"},
                "payment_method": {"provider": "sandbox", "token": "tok_ok"},
            },
            Idempotency_Key=uuid.uuid4().hex,
            X_Request_ID="the-request-1",
        )
        assert order.headers["x-request-id"] == "the-request-1"
        eventually(lambda: '"event_handled"' in lines.read_text())
        shop.stop()
    entries = [json.loads(line) for line in lines.read_text().splitlines()]
    assert any(line["event"] == "request" and line["request_id"] == "the-request-1" for line in entries)
    handled = [line for line in entries if line["event"] == "event_handled"]
    assert {line["correlation_id"] for line in handled} >= {"the-request-1"}
    assert "canary" not in lines.read_text().lower(), "no name or address in a log"


def test_a_shop_without_its_secret_does_not_start():
    with pytest.raises(AssertionError, match="exited while it was starting"):
        start_shop(SECRET_KEY="short")
