"""One sender at a time: a sender that lost its lease neither sends nor records an outcome."""

from contexts.notifications import handlers
from shop.db.database import execute, fetch_rows
from tests.concurrency import run_concurrently
from tests.notifications import example_orders
from tests.notifications.messages import publish_order_confirmed, read_email_of


def take_over(order) -> None:
    """Take the lease as another worker does after it expired."""
    execute(
        "notifications",
        """UPDATE notifications_message SET attempt = attempt + 1, lease_until = now() + interval '1 minute'
           WHERE subject_id = %s""",
        [order.id],
    )


def run_in_thread(work) -> None:
    assert run_concurrently(work) == [None]


def send_while_another_sends(mail_server, before=lambda order: None) -> int:
    """Run a second sender while the first waits for the mail server's answer. Returns how many mails arrived."""
    order = example_orders.add_order()
    publish_order_confirmed(order)

    def second_sender():
        before(order)
        handlers.send_waiting_messages()

    mail_server.before_accept = lambda: run_in_thread(second_sender)
    handlers.send_waiting_messages()
    assert read_email_of(order)["status"] == "sent"
    assert len(mail_server.message_id_counts()) == 1
    return len(mail_server.mails)


def test_a_second_sender_does_not_send_a_leased_message(mail_server):
    assert send_while_another_sends(mail_server) == 1


def test_negative_control_without_the_lease_the_second_sender_sends_it_too(mail_server):
    def drop_lease(order):
        execute(
            "notifications",
            "UPDATE notifications_message SET lease_until = NULL, due_at = now() WHERE subject_id = %s",
            [order.id],
        )

    assert send_while_another_sends(mail_server, drop_lease) == 2


def test_a_sender_that_lost_its_lease_before_the_mail_does_not_send(mail_server, fake_orders):
    order = example_orders.add_order()
    publish_order_confirmed(order)
    fake_orders.on_request = lambda: run_in_thread(lambda: take_over(order))
    handlers.send_waiting_messages()
    assert mail_server.mails == []
    assert (read_email_of(order)["status"], read_email_of(order)["attempt"]) == ("waiting", 2)


def send_and_lose_the_lease(mail_server) -> dict:
    """Lose the lease between the mail and the server's reply. Returns the message's row."""
    order = example_orders.add_order()
    publish_order_confirmed(order)
    mail_server.before_accept = lambda: run_in_thread(lambda: take_over(order))
    handlers.send_waiting_messages()
    assert len(mail_server.mails_to(order.email)) == 1
    return read_email_of(order)


def test_a_sender_that_lost_its_lease_during_the_mail_does_not_mark(mail_server):
    mail = send_and_lose_the_lease(mail_server)
    assert (mail["status"], mail["attempt"], mail["sent_at"]) == ("waiting", 2, None)


def test_a_sender_that_lost_its_lease_does_not_postpone(mail_server):
    mail_server.connections_to_abort = 1
    mail = send_and_lose_the_lease(mail_server)
    assert (mail["attempt"], mail["reason"]) == (2, "")
    [(is_held,)] = fetch_rows(
        "notifications", "SELECT lease_until > now() FROM notifications_message WHERE id = %s", [mail["id"]]
    )
    assert is_held


def test_negative_control_without_the_attempt_a_stale_sender_marks(mail_server):
    mail = send_and_lose_the_lease(mail_server)
    marked = "UPDATE notifications_message SET status = 'sent' WHERE id = %s AND status = 'waiting'"
    assert execute("notifications", f"{marked} AND attempt = 1", [mail["id"]]) == 0
    assert execute("notifications", marked, [mail["id"]]) == 1
