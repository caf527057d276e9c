"""SECRET_KEY and the key of access tokens are changed while orders run, by restarting two shops one after the other."""

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from ops.launch.keys import generate_secret_key, generate_signing_key
from shop.db.database import fetch_rows
from tests.concurrency import eventually
from tests.factories import create_sku
from tests.journeys.running_shop import RunningShop
from tests.journeys.test_shop_process import all_orders_finished, running_buyers
from tests.orders.queries import assert_stock_adds_up, count_charges
from tests.public_keys import public_pem

pytestmark = pytest.mark.usefixtures("verified")


class Journal:
    """The acknowledged orders by key, and unexpected responses."""

    def __init__(self) -> None:
        self.orders: dict[str, dict[str, Any]] = {}
        self.surprises: list[Any] = []
        self.lock = threading.Lock()

    def note(self, key: str, order: dict[str, Any]) -> None:
        with self.lock:
            if self.orders.setdefault(key, order)["id"] != order["id"]:
                self.surprises.append((key, order["id"], self.orders[key]["id"]))


@contextmanager
def two_shops(**environment: str) -> Iterator[list[RunningShop]]:
    with closing(RunningShop(**environment)) as first, closing(RunningShop(**environment)) as second:
        yield [first, second]


def restart_one_after_the_other(shops: list[RunningShop], journal: Journal, **environment: str) -> None:
    for shop in shops:
        shop.stop()
        shop.environment |= environment
        shop.start()
        await_more_orders(journal)


def await_more_orders(journal: Journal, more: int = 6) -> None:
    expected = len(journal.orders) + more
    eventually(lambda: len(journal.orders) >= expected)


def buy_at_both(shops: list[RunningShop], sku: str, email: str, journal: Journal) -> Callable[[threading.Event], None]:
    """Return a buyer who sends each request to both shops with one key, in turns, until both answer with the order."""

    def buy(stop: threading.Event) -> None:
        while not stop.is_set():
            key = uuid.uuid4().hex
            for shop in shops:
                while not (order := send_order(shop, sku, key, email, journal)) and not stop.wait(0.05):
                    pass
                if order:
                    journal.note(key, order)

    return buy


def send_order(shop: RunningShop, sku: str, key: str, email: str, journal: Journal) -> dict[str, Any] | None:
    """Return the order, or None if the shop is being restarted or is still busy with it."""
    try:
        answer = shop.shopper().order(sku, key=key, email=email)
    except OSError:
        return None
    if answer.status not in (201, 202, 409, 503):
        journal.surprises.append((answer.status, answer.body))
    return answer.body if answer.status == 201 else None


def test_the_secret_is_changed_under_load_without_a_second_order():
    old, new = generate_secret_key(), generate_secret_key()
    sku, email, journal = create_sku(2_000), f"{uuid.uuid4().hex}@example.com", Journal()
    with two_shops(SECRET_KEY=old) as shops, running_buyers(3, buy_at_both(shops, sku, email, journal)):
        await_more_orders(journal)
        before = dict(journal.orders)
        restart_one_after_the_other(shops, journal, SECRET_KEY_FALLBACKS=new)
        restart_one_after_the_other(shops, journal, SECRET_KEY=new, SECRET_KEY_FALLBACKS=old)
        for key, order in list(before.items())[:5]:
            shown = shops[0].shopper().get(f"orders/{order['id']}", X_Order_Token=order["token"])
            assert (shown.status, shown.body["id"]) == (200, order["id"])
            assert shops[1].shopper().order(sku, key=key, email=email).body["id"] == order["id"]
    assert journal.surprises == []
    eventually(lambda: all_orders_finished(email))
    stored = fetch_rows("orders", "SELECT id::text FROM orders_order WHERE email = %s", [email])
    keys = fetch_rows(
        "orders",
        "SELECT count(DISTINCT key) FROM shop_idempotencykey WHERE resource IN (SELECT id FROM orders_order WHERE email = %s)",
        [email],
    )
    assert keys == [(len(stored),)], "one order for each key"
    assert all(count_charges(order_id) == 1 for (order_id,) in stored)
    assert_stock_adds_up(sku)


def test_the_key_of_access_tokens_is_changed_while_customers_order():
    old, new = generate_signing_key(), generate_signing_key()
    sku, journal = create_sku(2_000), Journal()
    with two_shops(JWT_SIGNING_KEY=old) as shops:
        customer = shops[0].shopper()
        email = customer.register()

        def buy(stop: threading.Event) -> None:
            while not stop.is_set():
                for shop in shops:
                    buyer = shop.shopper()
                    buyer.token = customer.token
                    try:
                        answer = buyer.order(sku, key=uuid.uuid4().hex)
                    except OSError:
                        continue
                    if answer.status == 201:
                        journal.note(uuid.uuid4().hex, answer.body)
                    elif answer.status not in (409, 503):
                        journal.surprises.append((answer.status, answer.body))

        with running_buyers(2, buy):
            await_more_orders(journal)
            restart_one_after_the_other(shops, journal, JWT_RETIRED_KEYS=public_pem(new).replace("\n", "\\n"))
            restart_one_after_the_other(
                shops, journal, JWT_SIGNING_KEY=new, JWT_RETIRED_KEYS=public_pem(old).replace("\n", "\\n")
            )
        assert journal.surprises == [], "the access token stays valid"
        published = [shop.shopper().get("/.well-known/jwks.json").body["keys"] for shop in shops]
        assert [len(keys) for keys in published] == [2, 2]
        eventually(lambda: all_orders_finished(email))
