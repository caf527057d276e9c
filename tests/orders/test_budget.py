"""What an order costs: SQL statements and transactions, counted on every connection."""

from collections.abc import Callable
from contextlib import ExitStack

import pytest
from django.conf import settings
from django.db import connections
from django.test.utils import CaptureQueriesContext

from contexts.notifications.handlers import send_waiting_messages
from shop.database import changed
from tests.inventory.stock import stocked
from tests.notifications.postbox import Postbox
from tests.orders.clockwork import run_until_idle
from tests.shopper import InProcess
from tests.topologies.five import one_process

TRANSACTION = ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE")
WRITES = ("INSERT", "UPDATE", "DELETE", "WITH", "EXECUTE insert", "EXECUTE update", "EXECUTE with")


class Bill:
    """What was spent on all aliases."""

    def __init__(self, queries: list[dict]) -> None:
        self.all = [query["sql"].removeprefix("BEGIN;").lstrip() for query in queries]  # which travels with the first
        self.statements = [sql for sql in self.all if not sql.startswith(TRANSACTION)]
        self.begun = sum(sql.startswith("BEGIN") for sql in self.all)

    def transactions(self) -> int:
        """Explicit ones, and each write that was its own."""
        alone, inside = 0, False
        for sql in self.all:
            if sql.startswith(("BEGIN", "COMMIT", "ROLLBACK")):
                inside = sql.startswith("BEGIN")
            elif not inside and sql.startswith(WRITES):
                alone += 1
        return self.begun + alone


def billed(do: Callable[[], object]) -> Bill:
    """What `do` spends, in the order in which each alias was used."""
    with ExitStack() as stack:
        captured = [stack.enter_context(CaptureQueriesContext(connections[alias])) for alias in settings.CONTEXTS]
        do()
    return Bill([query for capture in captured for query in capture.captured_queries])


@pytest.fixture
def postbox(settings):
    """A mail server, so that the receipt is sent."""
    box = Postbox()
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", box.port
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    box.start()
    yield box
    box.stop()


@pytest.fixture(autouse=True)
def one_call_is_one_call():
    """The budget is of one process and the local transport; loopback makes every call twice on purpose."""
    with one_process():
        run_until_idle()
        yield


def test_an_order_confirmed_stays_within_its_budget():
    shopper, skus = InProcess(), [stocked(5) for _ in range(3)]
    bill = billed(lambda: shopper.order(*skus))
    assert len(bill.statements) <= 30, "\n".join(bill.statements)
    assert bill.transactions() <= 10, "\n".join(bill.all)


def test_the_budget_does_not_grow_with_the_lines():
    shopper, few, many = InProcess(), [stocked(5) for _ in range(3)], [stocked(5) for _ in range(20)]
    assert len(billed(lambda: shopper.order(*few)).statements) == len(billed(lambda: shopper.order(*many)).statements)


def test_all_that_follows_an_order_stays_within_its_budget(postbox):
    others = "UPDATE notifications_message SET due_at = now() + interval '1 day' WHERE status = 'waiting'"
    changed("notifications", others)
    assert InProcess().order(*(stocked(5) for _ in range(3))).status == 201

    looks: list[str] = []

    def note(execute, sql, params, many, context):
        result = execute(sql, params, many, context)
        if "SKIP LOCKED" in sql and not context["cursor"].rowcount:
            looks.append(sql)  # found nothing: the poller's, not this order's
        return result

    def follow_up():
        run_until_idle()
        send_waiting_messages()

    with ExitStack() as stack:
        for alias in settings.CONTEXTS:
            stack.enter_context(connections[alias].execute_wrapper(note))
        spent = billed(follow_up).statements
    assert len(postbox.mails) >= 1
    assert len(spent) - len(looks) <= 30, "\n".join(spent)
