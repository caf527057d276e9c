"""A stranger and the running shop."""

import json
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from shop.database import rows
from tests.inventory.stock import stocked
from tests.journeys.conftest import opened
from tests.orders.books import charges, payment_of, stock_of, units_add_up
from tests.shopper import ADDRESS
from tests.threads import eventually

pytestmark = pytest.mark.usefixtures("verified")


def test_a_customer_buys_and_hears_of_it(shopper):
    email = shopper.register()
    sku = stocked(3)
    cart = shopper.post("carts").body["id"]
    shopper.send("PUT", f"carts/{cart}/items/{sku}", {"quantity": 2})
    answer = shopper.order(items=None, cart_id=cart, email=None)
    assert answer.status == 201
    order = answer.body
    assert (order["email"], order["status"], order["payment"]["status"]) == (email, "confirmed", "captured")
    assert order["lines"][0]["quantity"] == 2
    eventually(lambda: stock_of(sku) == (1, 0))
    told = eventually(lambda: [m for m in shopper.get("notifications").body["results"] if order["number"] in m["text"]])
    assert told[0]["order_id"] == order["id"]
    assert [found["id"] for found in shopper.get("orders").body["results"]] == [order["id"]]
    payment = shopper.get(f"payments/{order['payment']['id']}").body
    assert (payment["status"], payment["order_id"]) == ("captured", order["id"])
    stranger = shopper.another()
    stranger.register()
    assert stranger.get(f"payments/{payment['id']}").status == 404
    happened = [entry["kind"] for entry in shopper.get(f"orders/{order['id']}/timeline").body["results"]]
    assert happened == ["placed", "confirmed", "paid"]


def test_a_guest_buys_with_a_card_that_needs_approval(shopper):
    order = shopper.order(stocked(1), token="tok_requires_action").body
    assert order["status"] == "pending"
    action = order["payment"]["action"]
    assert action["type"] == "redirect"
    assert shopper.post("/" + action["url"].split("/", 3)[3]).status < 300
    assert eventually(lambda: shopper.look_at(order)["status"] == "confirmed")


def test_a_payment_that_timed_out_is_found_and_taken_once(shopper):
    answer = shopper.order(stocked(1), token="tok_timeout_then_ok")
    assert answer.status == 202
    assert eventually(lambda: shopper.look_at(answer.body)["status"] == "confirmed")
    assert charges(answer.body["id"]) == 1


def test_a_cancelled_order_gives_everything_back(shopper):
    sku = stocked(1)
    order = shopper.order(sku).body
    eventually(lambda: stock_of(sku) == (0, 0))
    assert shopper.post(f"orders/{order['id']}/cancel", X_Order_Token=order["token"]).status in (200, 202)
    eventually(lambda: stock_of(sku) == (1, 0))
    assert payment_of(order["id"]) == "refunded"


def test_the_catalogue_is_browsed_page_by_page(shopper):
    for _ in range(3):
        stocked(1)
    seen, path = [], "products?page_size=2"
    while path:
        page = shopper.get(path).body
        seen += [found["id"] for found in page["results"]]
        path = page["next"] and "products?" + page["next"].split("?")[1]
    assert len(seen) == len(set(seen)) >= 3


def test_every_order_of_many_reaches_inventory(shopper):
    email = f"{uuid.uuid4().hex}@example.com"
    sku = stocked(60)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: shopper.order(sku, email=email), range(50)))
    assert {answer.status for answer in answers} == {201}
    ids = [answer.body["id"] for answer in answers]
    streams = [f"orders.order:{order_id}" for order_id in ids]
    handled = "SELECT count(*) FROM shop_inboxrow WHERE stream = ANY(%s) AND handled_at IS NOT NULL"
    eventually(lambda: rows("inventory", handled, [streams]) == [(50,)])
    eventually(lambda: stock_of(sku) == (10, 0))


def test_a_shop_killed_under_load_loses_and_doubles_nothing():
    shop = opened()
    shopper, sku, email = shop.shopper(), stocked(200), f"{uuid.uuid4().hex}@example.com"
    acknowledged: dict[str, dict] = {}
    lock, stop = threading.Lock(), threading.Event()

    def buy() -> None:
        while not stop.is_set():
            key = uuid.uuid4().hex
            for _ in range(200):  # the same request until it is answered for good
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
                time.sleep(0.1)  # as Retry-After says, in small

    buyers = [threading.Thread(target=buy) for _ in range(4)]
    for buyer in buyers:
        buyer.start()
    for _ in range(3):
        enough = len(acknowledged) + 5
        eventually(lambda least=enough: len(acknowledged) >= least, patience=20)
        shop.kill()
        shop.start()
    enough = len(acknowledged) + 5
    eventually(lambda: len(acknowledged) >= enough, patience=20)
    stop.set()
    for buyer in buyers:
        buyer.join()
    eventually(lambda: all_at_rest(email), patience=30)
    orders = {str(order_id) for (order_id,) in rows("orders", "SELECT id FROM orders_order WHERE email = %s", [email])}
    confirmed = rows("orders", "SELECT id FROM orders_order WHERE email = %s AND status = 'confirmed'", [email])
    assert {order["id"] for order in acknowledged.values()} <= orders
    assert len({order["id"] for order in acknowledged.values()}) == len(acknowledged), "one order for each key"
    eventually(lambda: stock_of(sku) == (200 - len(confirmed), 0), patience=30)
    units_add_up(sku)
    assert all(charges(order_id) == 1 for (order_id,) in confirmed)
    shop.stop()


def all_at_rest(email: str) -> bool:
    waiting = rows(
        "orders", "SELECT count(*) FROM orders_order WHERE email = %s AND step NOT IN ('done', 'closed')", [email]
    )
    return waiting[0][0] == 0


def test_a_shop_that_is_asked_to_stop_finishes_what_it_has_in_hand():
    shop = opened()
    shopper, sku = shop.shopper(), stocked(40)
    answers, failed, stop = [], [], threading.Event()

    def buy() -> None:
        while not stop.is_set():
            email = f"{uuid.uuid4().hex}@example.com"
            try:
                answers.append(shopper.order(sku, email=email).status)
            except OSError:
                failed.append(email)  # it does not listen, or not any more

    buyers = [threading.Thread(target=buy) for _ in range(3)]
    for buyer in buyers:
        buyer.start()
    eventually(lambda: len(answers) >= 6)
    assert shop.stop() == 0
    stop.set()
    for buyer in buyers:
        buyer.join()
    assert set(answers) <= {201, 409}
    begun = rows("orders", "SELECT count(*) FROM orders_order WHERE email = ANY(%s)", [failed])
    assert begun == [(0,)], "a request that was begun was answered"


def test_two_shops_on_the_same_databases_share_the_work(shop):
    other = opened()
    sku = stocked(20)
    sites = [shop.shopper(), other.shopper()]
    answers = [sites[n % 2].order(sku) for n in range(10)]
    assert {answer.status for answer in answers} == {201}
    eventually(lambda: stock_of(sku) == (10, 0))
    units_add_up(sku)
    assert other.stop() == 0


def test_every_log_line_is_json_and_tells_whose_story_it_is(tmp_path):
    lines = tmp_path / "log"
    with lines.open("w") as file:
        shop = opened(output=file, LOG_LEVEL="INFO", LOG_FORMAT="json")
        order = shop.shopper().post(
            "orders",
            {
                "items": [{"sku": stocked(1), "quantity": 1}],
                "email": "canary-address@example.com",
                "shipping_address": ADDRESS | {"name": "Canary Name"},
                "payment_method": {"provider": "sandbox", "token": "tok_ok"},
            },
            Idempotency_Key=uuid.uuid4().hex,
            X_Request_ID="the-story-1",
        )
        assert order.headers["x-request-id"] == "the-story-1"
        eventually(lambda: '"event_handled"' in lines.read_text())
        shop.stop()
    said = [json.loads(line) for line in lines.read_text().splitlines()]
    assert any(line["event"] == "request" and line["request_id"] == "the-story-1" for line in said)
    handled = [line for line in said if line["event"] == "event_handled"]
    assert {line["correlation_id"] for line in handled} >= {"the-story-1"}
    assert "canary" not in lines.read_text().lower(), "no name or address in a log"


def test_a_shop_without_its_secret_does_not_start():
    with pytest.raises(AssertionError, match="ended while it was starting"):
        opened(SECRET_KEY="short")
