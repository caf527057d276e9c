"""Each cell of the table in outages.py: what people are told while a context is away, and that it costs time, but no order.

It belongs to the run with local binding (conftest.py): the binding means nothing to calls between processes.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.conf import settings
from django.db import connections

from shop.database import rows
from tests.journeys import outages
from tests.journeys.outages import COLUMNS
from tests.journeys.proxy import Proxy
from tests.journeys.split import SplitShop
from tests.journeys.visit import UNITS, People, Visit
from tests.shopper import Answer
from tests.threads import eventually

PAGE = Path(settings.BASE_DIR, "docs", "outages.md")
ROWS = [*outages.rows()]
MUTE = 2.0  # seconds until nobody believes any more that there will be an answer
SLACK = 5.0  # seconds that a busy machine may take for what takes none
REST = 30.0  # seconds until all is done that a fact has to be carried for, which is tried again after 2 s and ever later
DONE = {"pay": (200, 409)}  # what is done already, asked for again
ORDERS = ("order", "order_of_customer")


class ProxiedShop(SplitShop):
    """Five process trees, each with a proxy in front of both of its servers."""

    def __init__(self) -> None:
        super().__init__()
        self.public = {context: Proxy(host.port) for context, host in self.hosts.items()}
        self.internal = {context: Proxy(host.internal) for context, host in self.hosts.items()}
        self.environment |= {
            f"{context.upper()}_URL": f"http://127.0.0.1:{proxy.port}" for context, proxy in self.internal.items()
        } | {"WEB_THREADS": "8"}

    def site(self, context: str) -> str:
        return f"http://127.0.0.1:{self.public[context].port}"

    def set_mood(self, context: str, mood: str) -> None:
        for proxy in (self.public[context], self.internal[context]):
            proxy.set_mood(mood)

    def stop(self) -> int:
        for proxy in (*self.public.values(), *self.internal.values()):
            proxy.close()
        return super().stop()


@pytest.fixture(scope="module")
def shop():
    shop, status = ProxiedShop(), None
    try:
        shop.start()
        yield shop
    finally:
        status = shop.stop()
    assert status == 0


@pytest.fixture(scope="module")
def visits(shop):
    """For each row a visit, prepared while all is well."""
    people = People(shop)

    def prepared(_: object) -> Visit:
        try:
            return Visit(people)
        finally:
            connections.close_all()  # this thread's

    with ThreadPoolExecutor(4) as pool:
        return dict(zip(ROWS, pool.map(prepared, ROWS), strict=True))


@pytest.fixture(scope="module", params=ROWS, ids="-".join)
def row(request, shop, visits):
    """What people are told, column by column, and what they are told when they ask again, once all is well."""
    (callee, state), visit = request.param, visits[request.param]

    def told(column: str) -> tuple:
        if state == "flapping":
            shop.set_mood(callee, state)  # what comes first is broken off
        patience = MUTE if (callee, state) == (COLUMNS[column].host, "mute") else 30.0
        began = time.monotonic()
        return visit.ask(column, patience), time.monotonic() - began

    shop.set_mood(callee, state)
    try:
        with ThreadPoolExecutor(1 if state == "flapping" else len(COLUMNS)) as pool:
            heard = dict(zip(COLUMNS, pool.map(told, COLUMNS), strict=True))
    finally:
        shop.set_mood(callee, "well")
    return SimpleNamespace(callee=callee, state=state, visit=visit, told=heard)


@pytest.mark.parametrize("column", COLUMNS)
def test_a_cell_is_as_declared(row, column):
    declared, (answer, seconds) = outages.outcome(row.callee, row.state, column), row.told[column]
    assert (answer and answer.status) == declared.status, answer
    assert declared.status is None or seconds < declared.within + SLACK
    if answer and declared.status == 503:
        assert answer.headers["retry-after"]
    if answer and declared.code:
        assert answer.body["code"] == declared.code


def answered(visit: Visit, column: str, ends: tuple[int, ...]) -> Answer | None:
    """The answer, if it is one of those that are for good."""
    answer = visit.ask(column)
    return answer if answer and answer.status in ends else None


def test_what_was_not_answered_is_answered_once_all_is_well(row):
    for column, what in COLUMNS.items():
        ends = DONE.get(column, (what.status,))
        answer = eventually(partial(answered, row.visit, column, ends), patience=REST)
        if column in ORDERS:
            assert answer.body["status"] == "confirmed"
    eventually(row.visit.is_paid, patience=REST)


def test_in_the_end_there_is_one_order_for_each_wish(visits):
    """And one letter, one reservation and one refund."""
    for visit in visits.values():
        keys = [f"{visit.key}-guest", f"{visit.key}-customer"]
        placed = rows("orders", "SELECT resource FROM shop_idempotencykey WHERE key = ANY(%s)", [keys])
        asked_for = [str(order_id) for (order_id,) in placed] + [visit.waiting["id"], visit.paid["id"]]
        line = "SELECT order_id FROM orders_orderline WHERE sku = %s"
        assert sorted(str(order_id) for (order_id,) in rows("orders", line, [visit.sku])) == sorted(asked_for)
        one_each = [(order_id, "order_confirmed") for order_id in sorted(asked_for)]
        eventually(lambda ids=asked_for, told=one_each: letters(ids) == told, patience=REST)
        eventually(lambda sku=visit.sku: units(sku) == [(UNITS - 4, 0)], patience=REST)
        [(refunds,)] = rows("payments", REFUNDS, [visit.paid["payment"]["id"]])
        assert refunds == 1


REFUNDS = "SELECT count(*) FROM payments_refund WHERE payment_id = %s AND status = 'done'"


def letters(order_ids: list[str]) -> list[tuple[str, str]]:
    look = "SELECT subject_id::text, template FROM notifications_message WHERE subject_id = ANY(%s) AND channel = 'email'"
    return sorted(rows("notifications", look, [order_ids]))


def units(sku: str) -> list[tuple[int, int]]:
    return rows("inventory", "SELECT on_hand, reserved FROM inventory_stock WHERE sku = %s", [sku])


def test_the_page_says_what_is_declared():
    assert PAGE.read_text() == outages.page(), "python -m tests.journeys.outages >docs/outages.md"
