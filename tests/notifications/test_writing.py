"""What is written when something happened elsewhere: once, whatever arrives twice."""

import pytest
from django.db import connections, transaction
from django.test.utils import CaptureQueriesContext

from contexts.notifications import handlers
from contexts.orders.events import OrderCancelled, OrderConfirmed, OrderPutOnHold, OrderRejected
from contexts.users.events import UserRegistered
from shop.database import changed
from shop.ids import uuid7
from shop.outbox import publish
from tests.notifications import shelf
from tests.notifications.people import confirm, happened, messages
from tests.orders.clockwork import run_until_idle
from tests.threads import at_once


def confirmed(order) -> OrderConfirmed:
    return OrderConfirmed(order_id=order.id, number=order.number, user_id=order.user_id, total=order.total)


def test_a_confirmed_order_of_a_customer_has_a_receipt_by_email_and_a_message_in_the_app():
    order = shelf.put(user_id=uuid7())
    confirm(order)
    [mail], [told] = messages(order.id), messages(order.id, "in_app")
    assert (mail["template"], mail["status"], mail["text"]) == ("order_confirmed", "waiting", "")
    assert (told["status"], told["due_at"]) == ("sent", None)
    assert order.number in told["text"] and "19.98 EUR" in told["text"]


def test_a_guest_gets_no_message_in_the_app():
    order = shelf.put()
    confirm(order)
    assert len(messages(order.id)) == 1
    assert messages(order.id, "in_app") == []


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (lambda who: OrderRejected(reason="inventory.out_of_stock", **who), "Not everything was in stock"),
        (lambda who: OrderRejected(reason="payments.declined", **who), "The payment was declined"),
        (lambda who: OrderRejected(reason="{number.__class__}", **who), "could not be completed. You pay nothing"),
        (lambda who: OrderCancelled(reason="changed my mind", **who), "was cancelled"),
        (lambda who: OrderPutOnHold(reason="card expired", **who), "is on hold"),
    ],
)
def test_every_end_of_an_order_is_told(event, words):
    order = shelf.put(user_id=uuid7())
    happened(event({"order_id": order.id, "number": order.number, "user_id": order.user_id}))
    assert len(messages(order.id)) == 1
    assert words in messages(order.id, "in_app")[0]["text"]


def test_a_new_customer_is_welcomed_in_the_app_only():
    user_id = uuid7()
    with transaction.atomic(using="users"):
        publish(UserRegistered(user_id=user_id), sequence=1)
    run_until_idle()
    assert [message["template"] for message in messages(user_id, "in_app")] == ["welcome"]
    assert messages(user_id) == []


def test_the_table_holds_no_address_and_an_email_no_text():
    order = shelf.put(email="kim.private@example.com", user_id=uuid7())
    confirm(order)
    assert "kim.private" not in str(messages(order.id) + messages(order.id, "in_app"))
    assert messages(order.id)[0]["text"] == ""


def handle_again(order_id) -> None:
    """As after a restore, or a purge: the inbox does not know any more that it handled these."""
    again = changed(
        "notifications",
        "UPDATE shop_inboxrow SET handled_at = NULL, due_at = now() WHERE stream = %s",
        [f"orders.order:{order_id}"],
    )
    assert again
    run_until_idle()


def test_a_fact_that_is_delivered_announced_or_handled_twice_leaves_one_receipt():
    order = shelf.put(user_id=uuid7())
    confirm(order)
    first = messages(order.id)
    changed("orders", "UPDATE shop_delivery SET acknowledged_at = NULL WHERE stream = %s", [f"orders.order:{order.id}"])
    run_until_idle()
    confirm(order, sequence=2)
    handle_again(order.id)
    assert messages(order.id) == first
    assert len(messages(order.id, "in_app")) == 1


def test_handlers_at_the_same_moment_leave_one_receipt():
    order = shelf.put(user_id=uuid7())
    at_once(*[lambda: handlers.write_receipt(confirmed(order))] * 8)
    assert len(messages(order.id)) == len(messages(order.id, "in_app")) == 1


def test_negative_control_without_the_unique_constraint_there_are_two_receipts():
    order = shelf.put()
    with transaction.atomic(using="notifications"):
        changed("notifications", "ALTER TABLE notifications_message DROP CONSTRAINT one_message_per_subject")
        for _ in range(2):
            changed(
                "notifications",
                """INSERT INTO notifications_message (id, order_id, template, channel, status)
                   VALUES (%s, %s, 'order_confirmed', 'email', 'waiting') ON CONFLICT DO NOTHING""",
                [uuid7(), order.id],
            )
        assert len(messages(order.id)) == 2
        transaction.set_rollback(True, using="notifications")


def test_writing_takes_one_statement_and_asks_nobody(few_orders):
    order = shelf.put(user_id=uuid7())
    with CaptureQueriesContext(connections["notifications"]) as captured:
        handlers.write_receipt(confirmed(order))
    assert len([query for query in captured if query["sql"] not in ("BEGIN", "COMMIT")]) == 1
    assert few_orders.asked == []
