"""Message creation: an event creates its messages once, also when it is delivered twice."""

import pytest
from django.db import connections, transaction
from django.test.utils import CaptureQueriesContext

from contexts.notifications import handlers
from contexts.orders.events import OrderCancelled, OrderConfirmed, OrderPutOnHold, OrderRejected
from contexts.users.events import UserRegistered
from shop.db.database import execute
from shop.ids import uuid7
from shop.messaging.outbox import Revision, publish
from tests.concurrency import run_concurrently
from tests.engine_driver import run_until_idle
from tests.notifications import example_orders
from tests.notifications.messages import publish_order_confirmed, publish_order_event, read_messages


def confirmed(order) -> OrderConfirmed:
    return OrderConfirmed(order_id=order.id, number=order.number, user_id=order.user_id, total=order.total)


def test_a_confirmed_order_of_a_customer_has_a_receipt_by_email_and_a_message_in_the_app():
    order = example_orders.add_order(user_id=uuid7())
    publish_order_confirmed(order)
    [mail], [in_app] = read_messages(order.id), read_messages(order.id, "in_app")
    assert (mail["template"], mail["status"], mail["text"]) == ("order_confirmed", "waiting", "")
    assert (in_app["status"], in_app["due_at"]) == ("sent", None)
    assert order.number in in_app["text"] and "19.98 EUR" in in_app["text"]


def test_a_guest_gets_no_message_in_the_app():
    order = example_orders.add_order()
    publish_order_confirmed(order)
    assert len(read_messages(order.id)) == 1
    assert read_messages(order.id, "in_app") == []


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (lambda access: OrderRejected(reason="inventory.out_of_stock", **access), "Not everything was in stock"),
        (lambda access: OrderRejected(reason="payments.declined", **access), "The payment was declined"),
        (
            lambda access: OrderRejected(reason="{number.__class__}", **access),
            "could not be completed. You pay nothing",
        ),
        (lambda access: OrderCancelled(reason="changed my mind", **access), "was cancelled"),
        (lambda access: OrderPutOnHold(reason="card expired", **access), "is on hold"),
    ],
)
def test_every_final_order_status_creates_a_message(event, text):
    order = example_orders.add_order(user_id=uuid7())
    publish_order_event(event({"order_id": order.id, "number": order.number, "user_id": order.user_id}))
    assert len(read_messages(order.id)) == 1
    assert text in read_messages(order.id, "in_app")[0]["text"]


def test_a_new_customer_is_welcomed_in_the_app_only():
    user_id = uuid7()
    with transaction.atomic(using="users"):
        publish(UserRegistered(user_id=user_id), row=Revision())
    run_until_idle()
    assert [message["template"] for message in read_messages(user_id, "in_app")] == ["welcome"]
    assert read_messages(user_id) == []


def test_the_table_holds_no_address_and_an_email_no_text():
    order = example_orders.add_order(email="kim.private@example.com", user_id=uuid7())
    publish_order_confirmed(order)
    assert "kim.private" not in str(read_messages(order.id) + read_messages(order.id, "in_app"))
    assert read_messages(order.id)[0]["text"] == ""


def handle_again(order_id) -> None:
    """Handle the events of an order again, as after a restore or a purge of the event inbox."""
    reset = execute(
        "notifications",
        "UPDATE shop_inboxrow SET handled_at = NULL, due_at = now() WHERE stream = %s",
        [f"orders.order:{order_id}"],
    )
    assert reset
    run_until_idle()


def test_an_event_delivered_published_or_handled_twice_writes_one_receipt():
    order = example_orders.add_order(user_id=uuid7())
    publish_order_confirmed(order)
    first = read_messages(order.id)
    execute("orders", "UPDATE shop_delivery SET acknowledged_at = NULL WHERE stream = %s", [f"orders.order:{order.id}"])
    run_until_idle()
    publish_order_confirmed(order, sequence=2)
    handle_again(order.id)
    assert read_messages(order.id) == first
    assert len(read_messages(order.id, "in_app")) == 1


def test_concurrent_handlers_write_one_receipt():
    order = example_orders.add_order(user_id=uuid7())
    run_concurrently(*[lambda: handlers.write_receipt(confirmed(order))] * 8)
    assert len(read_messages(order.id)) == len(read_messages(order.id, "in_app")) == 1


def test_negative_control_without_the_unique_constraint_there_are_two_receipts():
    order = example_orders.add_order()
    with transaction.atomic(using="notifications"):
        execute("notifications", "ALTER TABLE notifications_message DROP CONSTRAINT one_message_per_occurrence")
        for _ in range(2):
            execute(
                "notifications",
                """INSERT INTO notifications_message (id, order_id, template, channel, status)
                   VALUES (%s, %s, 'order_confirmed', 'email', 'waiting') ON CONFLICT DO NOTHING""",
                [uuid7(), order.id],
            )
        assert len(read_messages(order.id)) == 2
        transaction.set_rollback(True, using="notifications")


def test_writing_takes_one_statement_and_no_call(fake_orders):
    order = example_orders.add_order(user_id=uuid7())
    with CaptureQueriesContext(connections["notifications"]) as captured:
        handlers.write_receipt(confirmed(order))
    assert len([query for query in captured if query["sql"] not in ("BEGIN", "COMMIT")]) == 1
    assert fake_orders.requested_ids == []
