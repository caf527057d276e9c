"""Each cell of the table in outages.py: the response during an outage, and that an outage costs time but no order.

It runs with local binding only (conftest.py), which makes no difference to calls between processes.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.conf import settings
from django.db import connections

from shop.db.database import fetch_rows
from tests.concurrency import eventually
from tests.journeys import outages
from tests.journeys.actions import UNITS, Actors, PreparedActions
from tests.journeys.outages import COLUMNS
from tests.journeys.proxy import Proxy
from tests.journeys.split import SplitShop, await_closed_circuits
from tests.shopper import Response

PAGE = Path(settings.BASE_DIR, "docs", "outages.md")
ROWS = [*outages.iter_outages()]
MUTE_TIMEOUT_SECONDS = 2.0  # how long a client waits for a response that does not come
CLIENT_TIMEOUT_SECONDS = 60.0
# Without a deadline a call would last until the timeout of the client. This is what a loaded machine may add to the design.
SLACK_SECONDS = 30.0
RECOVERY_TIMEOUT_SECONDS = 120.0  # events are delivered again after 2 s and ever longer pauses
FINAL_STATUSES = {"pay": (200, 409)}  # 409: it was paid during the outage
ORDERS = ("order", "order_of_customer")


class ProxiedShop(SplitShop):
    """Five process trees, each with a proxy in front of its public and of its internal server."""

    def __init__(self) -> None:
        super().__init__()
        self.public = {context: Proxy(host.port) for context, host in self.hosts.items()}
        self.internal = {context: Proxy(host.internal) for context, host in self.hosts.items()}
        self.environment |= {
            f"{context.upper()}_URL": f"http://127.0.0.1:{proxy.port}" for context, proxy in self.internal.items()
        } | {"WEB_THREADS": "8", "EMAIL_UNKNOWN_OUTCOME_PAUSE_SECONDS": "0.1"}

    def site(self, context: str) -> str:
        return f"http://127.0.0.1:{self.public[context].port}"

    def set_mode(self, context: str, mode: str) -> None:
        for proxy in (self.public[context], self.internal[context]):
            proxy.set_mode(mode)

    def close(self) -> None:
        for proxy in (*self.public.values(), *self.internal.values()):
            proxy.close()
        super().close()


@pytest.fixture(scope="module")
def shop():
    with closing(ProxiedShop()) as shop:
        shop.start()
        yield shop
        assert shop.stop() == 0


@pytest.fixture(scope="module")
def prepared_actions(shop):
    """Prepare the actions of every outage while every context is up."""
    actors = Actors(shop)

    def prepare(_: object) -> PreparedActions:
        try:
            return PreparedActions(actors)
        finally:
            connections.close_all()  # those of this thread

    with ThreadPoolExecutor(4) as pool:
        return dict(zip(ROWS, pool.map(prepare, ROWS), strict=True))


@pytest.fixture(scope="module", params=ROWS, ids="-".join)
def outage(request, shop, prepared_actions):
    """Perform the actions of one outage: for each column the response, and the seconds that it took."""
    (callee, state), actions = request.param, prepared_actions[request.param]

    def perform(column: str) -> tuple[Response | None, float]:
        if state == "flapping":
            shop.set_mode(callee, state)  # the next request is cut off
        is_mute = (callee, state) == (COLUMNS[column].host, "mute")
        timeout = MUTE_TIMEOUT_SECONDS if is_mute else CLIENT_TIMEOUT_SECONDS
        began = time.monotonic()
        return actions.perform(column, timeout), time.monotonic() - began

    await_closed_circuits(actions.actors.guest)
    shop.set_mode(callee, state)
    try:
        with ThreadPoolExecutor(1 if state == "flapping" else len(COLUMNS)) as pool:
            responses = dict(zip(COLUMNS, pool.map(perform, COLUMNS), strict=True))
    finally:
        shop.set_mode(callee, "well")
    return SimpleNamespace(callee=callee, state=state, actions=actions, responses=responses)


@pytest.mark.parametrize("column", COLUMNS)
def test_each_action_responds_as_declared(outage, column):
    declared, (response, seconds) = outages.outcome(outage.callee, outage.state, column), outage.responses[column]
    assert (response and response.status) == declared.status, response
    assert declared.status is None or seconds < declared.within + SLACK_SECONDS
    if response and declared.status == 503:
        assert response.headers["retry-after"]
    if response and declared.code:
        assert response.body["code"] == declared.code


def final_response(actions: PreparedActions, column: str, statuses: tuple[int, ...]) -> Response | None:
    """Perform an action and return the response if it has one of these statuses."""
    response = actions.perform(column)
    return response if response and response.status in statuses else None


def test_every_action_succeeds_after_the_outage(outage):
    for column, declared in COLUMNS.items():
        statuses = FINAL_STATUSES.get(column, (declared.status,))
        response = eventually(
            partial(final_response, outage.actions, column, statuses), timeout=RECOVERY_TIMEOUT_SECONDS
        )
        if column in ORDERS:
            assert response.body["status"] == "confirmed"
    eventually(outage.actions.is_paid, timeout=RECOVERY_TIMEOUT_SECONDS)


def test_each_request_results_in_exactly_one_order(prepared_actions):
    """Check one order, one reservation and one email for each key, and one refund with its email."""
    for actions in prepared_actions.values():
        keys = [f"{actions.key}-guest", f"{actions.key}-customer"]
        placed = fetch_rows("orders", "SELECT resource FROM shop_idempotencykey WHERE key = ANY(%s)", [keys])
        requested = [str(order_id) for (order_id,) in placed] + [actions.waiting["id"], actions.paid["id"]]
        line = "SELECT order_id FROM orders_orderline WHERE sku = %s"
        assert sorted(str(order_id) for (order_id,) in fetch_rows("orders", line, [actions.sku])) == sorted(requested)
        one_each = [(order_id, "order_confirmed") for order_id in requested]
        one_each = sorted([*one_each, (actions.paid["id"], "order_refunded")])
        eventually(lambda ids=requested, mails=one_each: sent_emails(ids) == mails, timeout=RECOVERY_TIMEOUT_SECONDS)
        eventually(lambda sku=actions.sku: stock_of(sku) == [(UNITS - 4, 0)], timeout=RECOVERY_TIMEOUT_SECONDS)
        [(refunds,)] = fetch_rows("payments", REFUNDS, [actions.paid["payment"]["id"]])
        assert refunds == 1


REFUNDS = "SELECT count(*) FROM payments_refund WHERE payment_id = %s AND status = 'done'"


def sent_emails(order_ids: list[str]) -> list[tuple[str, str]]:
    sent = (
        "SELECT subject_id::text, template FROM notifications_message WHERE subject_id = ANY(%s) AND channel = 'email'"
    )
    return sorted(fetch_rows("notifications", sent, [order_ids]))


def stock_of(sku: str) -> list[tuple[int, int]]:
    return fetch_rows("inventory", "SELECT on_hand, reserved FROM inventory_stock WHERE sku = %s", [sku])


def test_the_page_matches_the_declaration():
    assert PAGE.read_text() == outages.page(), "python -m tests.journeys.outages >docs/outages.md"
