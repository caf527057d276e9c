"""More checkouts than a process takes at a time: some wait, the others are refused at once, with nothing stored."""

import re
from contextlib import ExitStack, closing
from uuid import uuid4

from tests.concurrency import eventually
from tests.factories import create_sku
from tests.journeys.bulk_requests import OVERLOADED, count_answered, read_answer, send_post
from tests.journeys.test_serving import serve
from tests.posts import find_unknown_posts
from tests.shop.db.superuser_session import database_name, open_superuser_session
from tests.shopper import ADDRESS

ORDERS, THREADS, QUEUE = 20, 2, 3
SETTINGS = {"WEB_WORKERS": "1", "WEB_THREADS": str(THREADS), "CHECKOUT_QUEUE": str(QUEUE)}
CONFIRMED = (201, None, "")


def build_order(sku: str) -> dict[str, object]:
    payment = {"provider": "sandbox", "token": "tok_ok"}
    return {
        "items": [{"sku": sku, "quantity": 1}],
        "email": f"{uuid4().hex}@example.com",
        "shipping_address": ADDRESS,
        "payment_method": payment,
    }


def test_checkouts_beyond_the_queue_are_refused_at_once_and_can_be_repeated():
    """The stock row is locked meanwhile, so that the first checkouts hold all threads."""
    sku = create_sku(ORDERS)
    orders = {uuid4().hex: build_order(sku) for _ in range(ORDERS)}
    with serve(**SETTINGS) as shop, ExitStack() as stack:

        def send(key: str):
            connection = send_post(shop, "/api/v1/orders", orders[key], Idempotency_Key=key)
            return stack.enter_context(closing(connection))

        with open_superuser_session(database_name("inventory")) as session:
            session.execute("SELECT FROM inventory_stock WHERE sku = %s FOR UPDATE", [sku])
            sent = {key: send(key) for key in orders}
            eventually(lambda: count_answered(list(sent.values())) >= ORDERS - THREADS - QUEUE)
            refused = [key for key, connection in sent.items() if count_answered([connection])]
            assert [read_answer(sent[key]) for key in refused] == [OVERLOADED] * (ORDERS - THREADS - QUEUE)
        waiting = orders.keys() - set(refused)
        assert [read_answer(sent[key]) for key in waiting] == [CONFIRMED] * (THREADS + QUEUE)
        for key in refused:
            assert read_answer(send(key)) == CONFIRMED, "nothing was stored for a refused order"


def test_what_counts_as_a_checkout_exists(settings):
    paths = ["/api/v1/orders", f"/api/v1/orders/{uuid4()}/payment"]
    [expression] = settings.CHECKOUT_PATHS
    assert all(re.fullmatch(expression, path) for path in paths)
    assert find_unknown_posts(paths) == []
    assert not re.fullmatch(expression, "/api/v1/orders/lookup")
