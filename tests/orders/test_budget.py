"""The budget of an order: SQL statements and transactions, counted on every connection."""

from collections.abc import Callable
from contextlib import ExitStack

import pytest
from django.conf import settings
from django.db import connections
from django.test.utils import CaptureQueriesContext

from contexts.notifications.handlers import send_waiting_messages
from shop.db.database import execute
from tests.engine_driver import capture_payments, run_until_idle
from tests.factories import create_sku
from tests.mail_server import FakeMailServer
from tests.shopper import InProcessShopper
from tests.topologies.five_processes import single_process

TRANSACTION = ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE")
WRITES = ("INSERT", "UPDATE", "DELETE", "WITH", "EXECUTE insert", "EXECUTE update", "EXECUTE with")


class StatementCount:
    """Statements and transactions on all aliases."""

    def __init__(self, queries: list[dict]) -> None:
        self.all = [
            query["sql"].removeprefix("BEGIN;").lstrip() for query in queries
        ]  # BEGIN is sent with the first statement
        self.statements = [sql for sql in self.all if not sql.startswith(TRANSACTION)]
        self.begun = sum(sql.startswith("BEGIN") for sql in self.all)

    def transactions(self) -> int:
        """Count explicit transactions, and each write outside of one."""
        alone, inside = 0, False
        for sql in self.all:
            if sql.startswith(("BEGIN", "COMMIT", "ROLLBACK")):
                inside = sql.startswith("BEGIN")
            elif not inside and sql.startswith(WRITES):
                alone += 1
        return self.begun + alone


def measure(do: Callable[[], object]) -> StatementCount:
    """Call `do`, and return its statements, alias by alias."""
    with ExitStack() as stack:
        captured = [stack.enter_context(CaptureQueriesContext(connections[alias])) for alias in settings.CONTEXTS]
        do()
    return StatementCount([query for capture in captured for query in capture.captured_queries])


@pytest.fixture
def mail_server(settings):
    """Start a mail server, so that the receipt is sent."""
    box = FakeMailServer()
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", box.port
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    box.start()
    yield box
    box.stop()


@pytest.fixture(autouse=True)
def in_single_process():
    """Use one process and the local transport: loopback makes every call twice."""
    with single_process():
        run_until_idle()
        yield


def test_an_order_confirmed_stays_within_its_budget():
    shopper, skus = InProcessShopper(), [create_sku(5) for _ in range(3)]
    count = measure(lambda: shopper.order(*skus))
    assert len(count.statements) <= 21, "\n".join(count.statements)
    assert count.transactions() <= 10, "\n".join(count.all)


def test_the_budget_does_not_grow_with_the_lines():
    shopper, few, many = InProcessShopper(), [create_sku(5) for _ in range(3)], [create_sku(5) for _ in range(20)]
    assert len(measure(lambda: shopper.order(*few)).statements) == len(measure(lambda: shopper.order(*many)).statements)


def test_a_set_of_captures_stays_within_its_budget():
    shopper, sku = InProcessShopper(), create_sku(20)
    alone, together = (measure_captures(shopper, sku, count) for count in (1, 11))
    assert len(alone.statements) <= 10, "\n".join(alone.statements)
    assert alone.transactions() <= 5, "\n".join(alone.all)
    assert together.transactions() == alone.transactions() + 10  # of the provider, which is built in
    assert len(together.statements) - len(alone.statements) <= 10 * 5, "\n".join(together.statements)


def measure_captures(shopper: InProcessShopper, sku: str, count: int) -> StatementCount:
    """Place orders, and measure the set in which they are captured."""
    assert [shopper.order(sku).status for _ in range(count)] == [201] * count
    return measure(capture_payments)


def test_event_handling_after_an_order_stays_within_its_budget(mail_server):
    postpone = "UPDATE notifications_message SET due_at = now() + interval '1 day' WHERE status = 'waiting'"
    execute("notifications", postpone)
    assert InProcessShopper().order(*(create_sku(5) for _ in range(3))).status == 201
    capture_payments()

    empty_polls: list[str] = []

    def record_empty_polls(execute, sql, params, many, context):
        result = execute(sql, params, many, context)
        if "SKIP LOCKED" in sql and not result.command_tuples:
            empty_polls.append(sql)  # an empty poll is not part of this order
        return result

    def follow_up():
        run_until_idle()
        send_waiting_messages()

    with ExitStack() as stack:
        for alias in settings.CONTEXTS:
            stack.enter_context(connections[alias].execute_wrapper(record_empty_polls))
        count = measure(follow_up)
    assert len(mail_server.mails) >= 1
    assert len(count.statements) - len(empty_polls) <= 18, "\n".join(count.statements)
    # The relay's claim and acknowledgement, one for each of two subscribers, and three for the e-mail.
    assert count.transactions() - len(empty_polls) <= 7, "\n".join(count.all)
