"""E-mail over real SMTP: one receipt for each order, whatever the mail server does meanwhile."""

import threading
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.db import connections
from django.test.utils import CaptureQueriesContext

from contexts.notifications import handlers
from contexts.notifications.channels import email
from contexts.orders.events import OrderCancelled
from shop.database import changed, rows, transaction
from shop.errors import InTransaction, Unavailable
from shop.ids import uuid7
from tests.notifications import shelf
from tests.notifications.people import confirm, happened, mail_of, messages, send_until
from tests.threads import at_once


def sent(*orders) -> bool:
    return all(mail_of(order)["status"] == "sent" for order in orders)


def test_a_receipt_says_what_was_bought_and_goes_to_who_bought_it(postbox):
    order = shelf.put(email="kim@example.com")
    confirm(order)
    handlers.send_waiting_messages()
    [mail] = postbox.to("kim@example.com")
    assert mail["Subject"] == f"Your order {order.number} is confirmed"
    assert mail["From"] == settings.DEFAULT_FROM_EMAIL
    host = urlsplit(settings.SITE_URL).hostname
    assert mail["Message-ID"] == mail_of(order)["message_id"] == f"<{mail_of(order)['id']}@{host}>"
    text = mail.get_content().replace("\r\n", "\n")
    assert "2 x Mug <& saucer> (MUG-1): 19.98 EUR\n" in text and "Total: 19.98 EUR" in text
    assert mail_of(order)["status"] == "sent" and mail_of(order)["sent_at"] and mail_of(order)["due_at"] is None


@pytest.mark.parametrize("template", ["order_confirmed", "order_rejected", "order_cancelled", "order_put_on_hold"])
def test_every_template_renders(template):
    subject, text = email.render(template, order=shelf.put(), site="https://satsuma.example")
    assert subject.startswith("Your order ") and text.rstrip().endswith("Satsuma\nhttps://satsuma.example")
    assert "{" not in subject + text


def test_what_was_sent_is_not_sent_again(postbox, few_orders):
    order = shelf.put()
    confirm(order)
    handlers.send_waiting_messages()
    confirm(order, sequence=2)
    few_orders.asked.clear()
    handlers.send_waiting_messages()
    assert len(postbox.to(order.email)) == 1
    assert few_orders.asked == [] and mail_of(order)["lease_until"] is None


def test_senders_at_the_same_moment_send_one_mail_each(postbox):
    orders = [shelf.put() for _ in range(10)]
    for order in orders:
        confirm(order)
    assert at_once(*[handlers.send_waiting_messages] * 4) == [None] * 4
    send_until(lambda: sent(*orders))
    assert [len(postbox.to(order.email)) for order in orders] == [1] * 10


def test_a_batch_asks_orders_once_and_tells_in_the_order_of_what_happened(postbox, few_orders):
    order, other = shelf.put(), shelf.put()
    confirm(order)
    confirm(other)
    gone = OrderCancelled(order_id=order.id, number=order.number, user_id=None, reason="")
    happened(gone, sequence=2)
    handlers.send_waiting_messages()
    assert set(few_orders.asked) == {(order.id, other.id)}
    subjects = [mail["Subject"] for mail in postbox.to(order.email)]
    assert [subject.split()[-1] for subject in subjects] == ["confirmed", "cancelled"]


def test_nothing_is_lost_while_the_mail_server_is_down(postbox):
    orders = [shelf.put(user_id=uuid7()) for _ in range(3)]
    postbox.stop()
    for order in orders:
        confirm(order)
    for _ in range(3):
        handlers.send_waiting_messages()
    waiting = [mail_of(order) for order in orders]
    assert {mail["status"] for mail in waiting} == {"waiting"}
    assert all("refused" in mail["reason"].lower() for mail in waiting)
    assert all(messages(order.id, "in_app")[0]["status"] == "sent" for order in orders)  # the app needs no SMTP
    postbox.start()
    send_until(lambda: sent(*orders))
    assert [len(postbox.to(order.email)) for order in orders] == [1, 1, 1]


def test_a_long_outage_is_looked_at_again_within_ten_seconds(postbox):
    order = shelf.put()
    confirm(order)
    changed("notifications", "UPDATE notifications_message SET attempt = 5000 WHERE subject_id = %s", [order.id])
    postbox.stop()
    handlers.send_waiting_messages()
    [(wait,)] = rows(
        "notifications",
        "SELECT extract(epoch FROM due_at - now()) FROM notifications_message WHERE subject_id = %s",
        [order.id],
    )
    assert 4 < wait <= 10 and mail_of(order)["status"] == "waiting"


@pytest.mark.parametrize("answer", ["450 4.2.1 try later", "421 4.3.2 closing"])
def test_a_passing_refusal_is_tried_again_and_holds_up_nobody_else(postbox, answer):
    later, other = shelf.put(), shelf.put()
    postbox.refusals[later.email] = [answer, answer]
    confirm(later)
    confirm(other)
    handlers.send_waiting_messages()
    assert mail_of(later)["status"] == "waiting" and mail_of(later)["reason"] == answer
    send_until(lambda: sent(later, other))
    assert len(postbox.to(later.email)) == len(postbox.to(other.email)) == 1
    assert mail_of(later)["reason"] == ""


def announced_failures(message_id) -> list:
    return rows(
        "notifications",
        "SELECT sequence, payload ->> 'reason' FROM shop_outboxevent WHERE stream = %s ORDER BY sequence",
        [f"notifications.message:{message_id}"],
    )


def test_a_final_refusal_is_visible_announced_and_quotes_no_address(postbox):
    order, other = shelf.put(), shelf.put()
    postbox.refusals[order.email] = [f"550 5.1.1 <{order.email}>: unknown here"]
    confirm(order)
    confirm(other)
    send_until(lambda: sent(other))
    mail = mail_of(order)
    assert (mail["status"], mail["reason"], mail["due_at"]) == ("failed", "550 5.1.1 (address) unknown here", None)
    assert announced_failures(mail["id"]) == [(1, mail["reason"])]
    handlers.send_waiting_messages()
    assert postbox.to(order.email) == []


@pytest.mark.parametrize(
    "address", ["kim@example.com\r\nBcc: eve@example.com", "kim@example.com, eve@example.com", "kim"]
)
def test_an_address_that_is_none_adds_no_header_and_no_recipient(postbox, address):
    order, other = shelf.put(email=address), shelf.put()
    confirm(order)
    confirm(other)
    send_until(lambda: sent(other))
    assert len(postbox.mails) == 1 or address == "kim"
    assert not any("eve" in str(mail) for mail in postbox.mails)
    assert "eve" not in mail_of(order)["reason"]


def test_a_subject_has_one_line():
    order = shelf.put()
    subject, _ = email.render("order_confirmed", order={"number": "1\r\nBcc: eve@example.com"}, site="")
    assert "\n" not in subject and "\r" not in subject and order


def test_an_order_that_orders_does_not_know_fails_visibly(postbox, few_orders):
    order = shelf.put()
    confirm(order)
    del few_orders.known[order.id]
    handlers.send_waiting_messages()
    assert (mail_of(order)["status"], mail_of(order)["reason"]) == ("failed", "orders does not know this order")


def test_mail_waits_while_orders_is_down(postbox, few_orders):
    order = shelf.put()
    confirm(order)
    few_orders.down = True
    with pytest.raises(Unavailable):
        handlers.send_waiting_messages()
    mail = mail_of(order)
    assert (mail["status"], mail["lease_until"]) == ("waiting", None) and "orders did not answer" in mail["reason"]
    few_orders.down = False
    send_until(lambda: sent(order))
    assert len(postbox.mails) == 1


def test_a_mail_whose_answer_was_lost_comes_at_most_twice_with_the_same_message_id(postbox):
    order, other = shelf.put(), shelf.put()
    confirm(order)
    confirm(other)
    postbox.breaks_off = 1
    handlers.send_waiting_messages()
    assert [mail_of(order)["status"], mail_of(other)["status"]] == ["waiting", "waiting"]
    handlers.send_waiting_messages()
    assert sent(other)  # which may not be held up by what a message does to the server
    send_until(lambda: sent(order, other))
    assert postbox.ids() == {mail_of(order)["message_id"]: 2, mail_of(other)["message_id"]: 1}


def test_a_mail_server_that_hangs_is_not_waited_for(postbox, settings):
    order, other = shelf.put(), shelf.put()
    confirm(order)
    confirm(other)
    settled, patience = threading.Event(), settings.EMAIL_TIMEOUT
    postbox.before_yes = lambda: settled.wait(30)
    settings.EMAIL_TIMEOUT = 0.5
    handlers.send_waiting_messages()
    settings.EMAIL_TIMEOUT = patience
    assert [mail_of(order)["status"], mail_of(other)["status"]] == ["waiting", "waiting"]
    send_until(lambda: sent(order, other))
    settled.set()
    assert postbox.ids() == {mail_of(order)["message_id"]: 2, mail_of(other)["message_id"]: 1}


def test_a_database_connection_lost_after_the_server_said_yes_sends_nothing_twice(postbox):
    order = shelf.put()
    confirm(order)
    rows("notifications", "SELECT 1")
    mine = connections["notifications"].connection.info.backend_pid

    def break_connection():
        rows("notifications", "SELECT pg_terminate_backend(%s)", [mine])
        connections.close_all()

    postbox.before_yes = break_connection
    handlers.send_waiting_messages()
    assert sent(order)
    assert len(postbox.to(order.email)) == 1


@pytest.mark.parametrize("alias", ["notifications", "orders"])
def test_nothing_is_sent_while_a_transaction_is_open(postbox, alias):
    order = shelf.put()
    confirm(order)
    with pytest.raises(InTransaction), transaction(alias):
        handlers.send_waiting_messages()
    with pytest.raises(InTransaction), transaction(alias), email.connection():
        pass
    letter = email.Letter(message_id="<1@satsuma.example>", to=order.email, subject="Hello", text="there")
    with email.connection() as link, pytest.raises(InTransaction), transaction(alias):
        email.deliver(link, letter)
    assert postbox.mails == []


def test_sending_takes_two_statements_for_each_mail_and_one_to_take_them_all(postbox):
    orders = [shelf.put() for _ in range(5)]
    for order in orders:
        confirm(order)
    with CaptureQueriesContext(connections["notifications"]) as captured:
        handlers.send_waiting_messages()
    assert sent(*orders)
    assert len(captured) == 1 + 2 * 5
