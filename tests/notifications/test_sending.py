"""E-mail over real SMTP: one receipt per order, whatever the mail server does."""

import threading
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.db import OperationalError, connections
from django.test.utils import CaptureQueriesContext

from contexts.notifications import handlers
from contexts.notifications.channels import email
from contexts.notifications.service import sending
from contexts.orders.events import OrderCancelled
from shop import chaos
from shop.db.database import close_all_connections, execute, fetch_rows, transaction
from shop.errors import InTransaction, Unavailable
from shop.ids import uuid7
from tests.concurrency import eventually, run_concurrently, run_in_thread
from tests.notifications import example_orders
from tests.notifications.messages import (
    deliver,
    end_pause,
    publish_order_confirmed,
    publish_order_event,
    read_email_of,
    read_messages,
    send_until,
)
from tests.shop.db.superuser_session import execute_as_superuser
from tests.shop.db.unwritten_log import count_bytes_not_on_disk, stopped_wal_writer


def are_sent(*orders) -> bool:
    return all(read_email_of(order)["status"] == "sent" for order in orders)


def test_a_receipt_lists_the_purchase_and_goes_to_the_buyer(mail_server):
    order = example_orders.add_order(email="kim@example.com")
    publish_order_confirmed(order)
    handlers.send_waiting_messages()
    [mail] = mail_server.mails_to("kim@example.com")
    assert mail["Subject"] == f"Your order {order.number} is confirmed"
    assert mail["From"] == settings.DEFAULT_FROM_EMAIL
    host = urlsplit(settings.SITE_URL).hostname
    assert mail["Message-ID"] == read_email_of(order)["message_id"] == f"<{read_email_of(order)['id']}@{host}>"
    text = mail.get_content().replace("\r\n", "\n")
    assert "2 x Mug <& saucer> (MUG-1): 19.98 EUR\n" in text and "Total: 19.98 EUR" in text
    assert (
        read_email_of(order)["status"] == "sent"
        and read_email_of(order)["sent_at"]
        and read_email_of(order)["due_at"] is None
    )


def test_an_attempt_is_counted_on_the_disk_before_the_mail_is_sent(mail_server):
    order, not_on_disk = example_orders.add_order(), []

    def measure(point):
        if point == "smtp.send.before":
            not_on_disk.append(run_in_thread(count_bytes_not_on_disk))

    publish_order_confirmed(order)
    with stopped_wal_writer():
        chaos.on_point_reached = measure
        try:
            handlers.send_waiting_messages()
        finally:
            chaos.on_point_reached = None
    assert (read_email_of(order)["status"], not_on_disk) == ("sent", [0])


@pytest.mark.parametrize(
    "template", ["order_confirmed", "order_rejected", "order_cancelled", "order_put_on_hold", "order_link"]
)
def test_every_template_renders(template):
    subject, text = email.render(template, order=example_orders.add_order(), site="https://satsuma.example")
    assert subject.startswith("Your order ") and text.rstrip().endswith("Satsuma\nhttps://satsuma.example")
    assert "{" not in subject + text


def test_a_sent_message_is_not_sent_again(mail_server, fake_orders):
    order = example_orders.add_order()
    publish_order_confirmed(order)
    handlers.send_waiting_messages()
    publish_order_confirmed(order, sequence=2)
    fake_orders.requested_ids.clear()
    handlers.send_waiting_messages()
    assert len(mail_server.mails_to(order.email)) == 1
    assert fake_orders.requested_ids == [] and read_email_of(order)["lease_until"] is None


def test_concurrent_senders_send_each_mail_once(mail_server):
    orders = [example_orders.add_order() for _ in range(10)]
    for order in orders:
        publish_order_confirmed(order)
    assert run_concurrently(*[handlers.send_waiting_messages] * 4) == [None] * 4
    send_until(lambda: are_sent(*orders))
    assert [len(mail_server.mails_to(order.email)) for order in orders] == [1] * 10


@pytest.mark.parametrize("connections", [1, 4])
def test_a_process_sends_over_as_many_connections_as_the_setting_allows(mail_server, settings, connections):
    settings.EMAIL_CONNECTIONS = mail_server.parallel_messages = connections
    orders = [example_orders.add_order() for _ in range(6 * sending.MESSAGES_PER_CONNECTION)]
    for order in orders:
        publish_order_confirmed(order)
    handlers.send_waiting_messages()
    send_until(lambda: are_sent(*orders))
    assert mail_server.most_in_transfer == connections
    assert [len(mail_server.mails_to(order.email)) for order in orders] == [1] * len(orders)
    assert {read_email_of(order)["attempt"] for order in orders} == {1}


def test_a_batch_calls_orders_once_and_sends_in_event_order(mail_server, fake_orders):
    order, other = example_orders.add_order(), example_orders.add_order()
    publish_order_confirmed(order)
    publish_order_confirmed(other)
    cancelled = OrderCancelled(order_id=order.id, number=order.number, user_id=None, reason="")
    publish_order_event(cancelled, sequence=2)
    handlers.send_waiting_messages()
    assert set(fake_orders.requested_ids) == {(order.id, other.id)}
    subjects = [mail["Subject"] for mail in mail_server.mails_to(order.email)]
    assert [subject.split()[-1] for subject in subjects] == ["confirmed", "cancelled"]


def test_nothing_is_lost_while_the_mail_server_is_down(mail_server):
    orders = [example_orders.add_order(user_id=uuid7()) for _ in range(3)]
    mail_server.stop()
    for order in orders:
        publish_order_confirmed(order)
    for _ in range(3):
        handlers.send_waiting_messages()
    waiting = [read_email_of(order) for order in orders]
    assert {mail["status"] for mail in waiting} == {"waiting"}
    assert all("refused" in mail["reason"].lower() for mail in waiting)
    assert all(
        read_messages(order.id, "in_app")[0]["status"] == "sent" for order in orders
    )  # in-app messages need no SMTP
    mail_server.start()
    send_until(lambda: are_sent(*orders))
    assert [len(mail_server.mails_to(order.email)) for order in orders] == [1, 1, 1]


def test_a_long_outage_is_retried_within_ten_seconds(mail_server):
    order = example_orders.add_order()
    publish_order_confirmed(order)
    execute("notifications", "UPDATE notifications_message SET attempt = 5000 WHERE subject_id = %s", [order.id])
    mail_server.stop()
    handlers.send_waiting_messages()
    [(delay,)] = fetch_rows(
        "notifications",
        "SELECT extract(epoch FROM due_at - now()) FROM notifications_message WHERE subject_id = %s",
        [order.id],
    )
    assert 4 < delay <= 10 and read_email_of(order)["status"] == "waiting"


@pytest.mark.parametrize("reply", ["450 4.2.1 try later", "421 4.3.2 closing"])
def test_a_temporary_refusal_is_retried_and_delays_no_other_mail(mail_server, reply):
    deferred, other = example_orders.add_order(), example_orders.add_order()
    mail_server.refusals[deferred.email] = [reply, reply]
    publish_order_confirmed(deferred)
    publish_order_confirmed(other)
    handlers.send_waiting_messages()
    assert read_email_of(deferred)["status"] == "waiting" and read_email_of(deferred)["reason"] == reply
    send_until(lambda: are_sent(deferred, other))
    assert len(mail_server.mails_to(deferred.email)) == len(mail_server.mails_to(other.email)) == 1
    assert read_email_of(deferred)["reason"] == ""


def published_failures(message_id) -> list:
    return fetch_rows(
        "notifications",
        "SELECT sequence, payload ->> 'reason' FROM shop_outboxevent WHERE stream = %s ORDER BY sequence",
        [f"notifications.message:{message_id}"],
    )


def test_a_final_refusal_is_visible_published_and_quotes_no_address(mail_server):
    order, other = example_orders.add_order(), example_orders.add_order()
    mail_server.refusals[order.email] = [f"550 5.1.1 <{order.email}>: unknown here"]
    publish_order_confirmed(order)
    publish_order_confirmed(other)
    send_until(lambda: are_sent(other))
    mail = read_email_of(order)
    assert (mail["status"], mail["reason"], mail["due_at"]) == ("failed", "550 5.1.1 (address) unknown here", None)
    assert published_failures(mail["id"]) == [(1, mail["reason"])]
    handlers.send_waiting_messages()
    assert mail_server.mails_to(order.email) == []


@pytest.mark.parametrize(
    "address", ["kim@example.com\r\nBcc: eve@example.com", "kim@example.com, eve@example.com", "kim"]
)
def test_an_invalid_address_adds_no_header_and_no_recipient(mail_server, address):
    order, other = example_orders.add_order(email=address), example_orders.add_order()
    publish_order_confirmed(order)
    publish_order_confirmed(other)
    send_until(lambda: are_sent(other))
    assert len(mail_server.mails) == 1 or address == "kim"
    assert not any("eve" in str(mail) for mail in mail_server.mails)
    assert "eve" not in read_email_of(order)["reason"]


def test_a_subject_has_one_line():
    order = example_orders.add_order()
    subject, _ = email.render("order_confirmed", order={"number": "1\r\nBcc: eve@example.com"}, site="")
    assert "\n" not in subject and "\r" not in subject and order


def test_an_order_that_orders_does_not_know_fails_visibly(mail_server, fake_orders):
    order = example_orders.add_order()
    publish_order_confirmed(order)
    del fake_orders.orders[order.id]
    handlers.send_waiting_messages()
    assert (read_email_of(order)["status"], read_email_of(order)["reason"]) == (
        "failed",
        "orders does not know this order",
    )


def test_mail_waits_while_orders_is_down(mail_server, fake_orders):
    order = example_orders.add_order()
    publish_order_confirmed(order)
    fake_orders.is_down = True
    with pytest.raises(Unavailable):
        handlers.send_waiting_messages()
    mail = read_email_of(order)
    assert (mail["status"], mail["lease_until"]) == ("waiting", None) and "orders did not answer" in mail["reason"]
    fake_orders.is_down = False
    send_until(lambda: are_sent(order))
    assert len(mail_server.mails) == 1


def test_a_mail_whose_response_was_lost_arrives_at_most_twice_with_one_message_id(mail_server):
    order, other = example_orders.add_order(), example_orders.add_order()
    publish_order_confirmed(order)
    publish_order_confirmed(other)
    mail_server.connections_to_abort = 1
    handlers.send_waiting_messages()
    assert [read_email_of(order)["status"], read_email_of(other)["status"]] == ["waiting", "waiting"]
    handlers.send_waiting_messages()
    assert are_sent(other)  # the message that broke the connection does not delay it
    end_pause(order)
    send_until(lambda: are_sent(order, other))
    assert mail_server.message_id_counts() == {
        read_email_of(order)["message_id"]: 2,
        read_email_of(other)["message_id"]: 1,
    }


def test_a_mail_server_that_hangs_is_given_up(mail_server, settings):
    order, other = example_orders.add_order(), example_orders.add_order()
    publish_order_confirmed(order)
    publish_order_confirmed(other)
    is_released, timeout = threading.Event(), settings.EMAIL_DATA_TIMEOUT
    mail_server.before_accept = lambda: is_released.wait(30)
    settings.EMAIL_DATA_TIMEOUT = 0.5
    handlers.send_waiting_messages()
    settings.EMAIL_DATA_TIMEOUT = timeout
    assert [read_email_of(order)["status"], read_email_of(other)["status"]] == ["waiting", "waiting"]
    end_pause(order)
    send_until(lambda: are_sent(order, other))
    is_released.set()
    assert mail_server.message_id_counts() == {
        read_email_of(order)["message_id"]: 2,
        read_email_of(other)["message_id"]: 1,
    }


def test_a_connection_lost_after_the_server_accepted_sends_nothing_twice(mail_server):
    order = example_orders.add_order()
    publish_order_confirmed(order)
    fetch_rows("notifications", "SELECT 1")
    pid = connections["notifications"].connection.info.backend_pid

    def break_connection():
        execute_as_superuser("SELECT pg_terminate_backend(%s)", [pid])

    mail_server.before_accept = break_connection
    handlers.send_waiting_messages()
    assert are_sent(order)
    assert len(mail_server.mails_to(order.email)) == 1


def test_an_attempt_counts_once_if_its_begin_is_repeated(mail_server):
    """The answer to the statement that records a mail and begins the next one is lost, so the statement runs twice."""
    orders = [example_orders.add_order() for _ in range(2)]
    for order in orders:
        publish_order_confirmed(order)
    runs, counted = [], []

    def lose_answer(execute_statement, sql, *arguments):
        if len(runs) == 2:  # the second mail is sent
            counted.extend(run_concurrently(lambda: read_email_of(orders[1])["unknown_outcomes"]))
        result = execute_statement(sql, *arguments)
        if "begun" in sql and mail_server.mails:
            runs.append(sql)
            if len(runs) == 1:
                raise OperationalError("the answer is lost")
        return result

    with connections["notifications"].execute_wrapper(lose_answer):
        handlers.send_waiting_messages()
    assert counted == [1]
    assert are_sent(*orders) and len(mail_server.mails) == 2
    assert len(runs) == 3, "the lost one, its repetition, and the record of the last mail"


def test_the_lease_of_a_mail_is_renewed_until_it_is_recorded(mail_server):
    """The record of it fails until the lease has been renewed."""
    order = example_orders.add_order()
    publish_order_confirmed(order)
    began, held = [], []

    def fail_for_a_while(execute_statement, sql, *arguments):
        if "begun" in sql and mail_server.mails and not held:
            began.append(read_lease(order))
            eventually(lambda: read_lease(order) > began[0])
            held.append(True)
            raise OperationalError("the database is away")
        return execute_statement(sql, *arguments)

    with connections["notifications"].execute_wrapper(fail_for_a_while):
        handlers.send_waiting_messages()
    assert held and are_sent(order)
    assert len(mail_server.mails) == 1


def test_a_mail_is_recorded_before_the_next_one_is_parked(mail_server):
    """The database fails while a later one is parked, which must not send the first one again."""
    sent, offered, parked = [example_orders.add_order() for _ in range(3)]
    for order in (sent, offered, parked):
        publish_order_confirmed(order)
    sql = "UPDATE notifications_message SET unknown_outcomes = 99 WHERE subject_id = %s"
    execute("notifications", sql, [parked.id])

    def fail_to_park(execute_statement, sql, *arguments):
        if "'parked'" in sql:
            raise OperationalError("the database is away")
        return execute_statement(sql, *arguments)

    with connections["notifications"].execute_wrapper(fail_to_park), pytest.raises(OperationalError):
        handlers.send_waiting_messages()
    assert are_sent(sent)
    assert [read_email_of(order)["status"] for order in (offered, parked)] == ["waiting", "waiting"]
    assert mail_server.mails_to(offered.email) == []


def read_lease(order):
    return run_concurrently(lambda: read_email_of(order)["lease_until"])[0]


def count_connections_in_use() -> dict[str, int]:
    """Count the connections of this process that are not in their pools, by database."""
    stats = {alias: connections[alias].pool.get_stats() for alias in ("notifications", "orders")}
    return {alias: each["pool_size"] - each["pool_available"] for alias, each in stats.items()}


def test_no_database_connection_is_held_while_the_mail_server_works(mail_server):
    order = example_orders.add_order()
    publish_order_confirmed(order)
    close_all_connections()
    before = count_connections_in_use()  # threads of other tests may still have some
    failures = []

    def wait_until_none_is_held():
        try:
            eventually(lambda: all(before[alias] >= held for alias, held in count_connections_in_use().items()))
        except AssertionError as failure:
            failures.append(failure)

    mail_server.before_accept = wait_until_none_is_held
    handlers.send_waiting_messages()
    assert are_sent(order)
    assert failures == []


@pytest.mark.parametrize("alias", ["notifications", "orders"])
def test_nothing_is_sent_while_a_transaction_is_open(mail_server, alias):
    order = example_orders.add_order()
    publish_order_confirmed(order)
    with pytest.raises(InTransaction), transaction(alias):
        handlers.send_waiting_messages()
    with pytest.raises(InTransaction), transaction(alias), email.open_connection():
        pass
    message = email.OutgoingEmail(message_id="<1@satsuma.example>", to=order.email, subject="Hello", text="there")
    with email.open_connection() as smtp, pytest.raises(InTransaction), transaction(alias):
        deliver(smtp, message)
    assert mail_server.mails == []


def test_sending_takes_one_statement_per_mail_and_two_per_batch_of_a_connection(mail_server):
    orders = [example_orders.add_order() for _ in range(5)]
    for order in orders:
        publish_order_confirmed(order)
    close_all_connections()
    fetch_rows("notifications", "SELECT 1")  # a process looks for types of extensions once
    with CaptureQueriesContext(connections["notifications"]) as captured:
        handlers.send_waiting_messages()
    assert are_sent(*orders)
    assert len(captured) == 2 + 5
