"""A database that hangs, or a session of it, holds no thread for long, and the contexts with other databases are served."""

import os
import signal
import time
import uuid
from contextlib import closing, contextmanager

import pytest

from tests.concurrency import eventually, repeat_concurrently
from tests.factories import create_sku
from tests.journeys.test_serving import ServedShop, serve
from tests.shop.db.hanging_proxy import HangingProxy
from tests.shop.db.superuser_session import database_name, execute_as_superuser
from tests.shopper import Shopper

REQUESTS = 12  # three times the number of threads
# How long an answer may take: time to notice (1 s), to probe (2 s) and to wait for a connection (5 s), on a loaded machine.
BOUND_SECONDS = 12.0
NOT_NEEDED, NEEDED = "notifications", "inventory"


@pytest.fixture(scope="module")
def proxies():
    with closing(HangingProxy()) as one, closing(HangingProxy()) as other:
        yield {NOT_NEEDED: one, NEEDED: other}


@pytest.fixture(scope="module")
def shop(proxies):
    """One worker with four threads. The limit of an answer is longer than any test waits, so that only the circuit helps."""
    urls = {f"{context.upper()}_DATABASE_URL": proxy.url(context) for context, proxy in proxies.items()}
    with serve(WEB_WORKERS="1", WEB_THREADS="4", DATABASE_ANSWER_TIMEOUT_SECONDS="600", **urls) as shop:
        yield shop


@contextmanager
def hanging(shop: ServedShop, proxy: HangingProxy):
    """Let a database hang, whose connections were in use before."""
    proxy.is_running.clear()
    try:
        yield
    finally:
        proxy.is_running.set()
        eventually(lambda: Shopper(shop.site).get("/ready").body["degraded"] is False)


def request_products(shop: ServedShop) -> tuple[int, float]:
    """Return the status of a request that reads inventory's database, and how many seconds it took."""
    shopper, began = Shopper(shop.site), time.monotonic()
    shopper.timeout = 60.0
    return shopper.get("products/nothing").status, time.monotonic() - began


def test_orders_sell_while_a_database_hangs_that_they_do_not_need(shop, proxies):
    sku = create_sku(3)
    assert Shopper(shop.site).get("/ready").status == 200
    with hanging(shop, proxies[NOT_NEEDED]):
        assert Shopper(shop.site).order(sku, email=f"{uuid.uuid4().hex}@example.com").status == 201
        ready = eventually(
            lambda: (
                (found := Shopper(shop.site).get("/ready")).body["contexts"][NOT_NEEDED]["database"] != "ok" and found
            )
        )
        assert ready.status == 200
        assert Shopper(shop.site).order(sku, email=f"{uuid.uuid4().hex}@example.com").status == 201


def test_a_database_that_hangs_does_not_hold_the_threads_of_the_rest(shop, proxies):
    assert request_products(shop)[0] == 404
    with hanging(shop, proxies[NEEDED]):
        answers = repeat_concurrently(REQUESTS, lambda _: request_products(shop))
        assert {status for status, _ in answers} == {503}
        assert max(seconds for _, seconds in answers) < BOUND_SECONDS
        shopper = Shopper(shop.site)
        assert shopper.send("POST", "carts", {}, Content_Type="application/json").status == 201
        assert shopper.get("/ready").status == 503
        assert shopper.get("/health").status == 200
    assert request_products(shop)[0] == 404


def find_sessions(context: str) -> list[int]:
    sql = "SELECT pid FROM pg_stat_activity WHERE datname = %s AND application_name LIKE 'satsuma%%'"
    return [pid for (pid,) in execute_as_superuser(sql, [database_name(context)])]


def test_sessions_that_are_stopped_are_replaced(shop):
    """The server itself works: only its processes for the open sessions of users do not run."""
    login = {"email": "nobody@example.com", "password": "wrong-password-of-nobody"}
    assert Shopper(shop.site).send("POST", "auth/token", login).status == 401
    stopped = find_sessions("users")
    assert stopped
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        shopper = Shopper(shop.site)
        shopper.timeout = 60.0
        began = time.monotonic()
        eventually(lambda: shopper.send("POST", "auth/token", login).status == 401)
        assert time.monotonic() - began < BOUND_SECONDS
        assert shopper.get("/health").status == 200
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
