"""One sender at a time; and one that was paused, and finds that another has taken over, neither sends nor marks."""

from contexts.notifications import handlers
from shop.database import changed, rows
from tests.notifications import shelf
from tests.notifications.people import confirm, mail_of
from tests.threads import at_once


def take_over(order) -> None:
    """Another worker takes the lease, as it may once it has run out."""
    changed(
        "notifications",
        """UPDATE notifications_message SET attempt = attempt + 1, lease_until = now() + interval '1 minute'
           WHERE subject_id = %s""",
        [order.id],
    )


def in_a_thread(work) -> None:
    assert at_once(work) == [None]


def send_while_another_sends(postbox, before=lambda order: None) -> int:
    """Run a second sender while the first waits for the mail server's answer. Returns how many mails arrived."""
    order = shelf.put()
    confirm(order)

    def second_sender():
        before(order)
        handlers.send_waiting_messages()

    postbox.before_yes = lambda: in_a_thread(second_sender)
    handlers.send_waiting_messages()
    assert mail_of(order)["status"] == "sent"
    assert len(postbox.ids()) == 1
    return len(postbox.mails)


def test_while_one_sends_another_leaves_the_message_alone(postbox):
    assert send_while_another_sends(postbox) == 1


def test_negative_control_without_the_lease_the_other_sends_it_too(postbox):
    def drop_lease(order):
        changed(
            "notifications",
            "UPDATE notifications_message SET lease_until = NULL, due_at = now() WHERE subject_id = %s",
            [order.id],
        )

    assert send_while_another_sends(postbox, drop_lease) == 2


def test_a_sender_that_lost_its_lease_before_the_mail_does_not_send(postbox, few_orders):
    order = shelf.put()
    confirm(order)
    few_orders.when_asked = lambda: in_a_thread(lambda: take_over(order))
    handlers.send_waiting_messages()
    assert postbox.mails == []
    assert (mail_of(order)["status"], mail_of(order)["attempt"]) == ("waiting", 2)


def send_as_a_zombie(postbox, answer: str = "") -> dict:
    """Lose the lease while the mail server thinks about its answer."""
    order = shelf.put()
    confirm(order)
    postbox.before_yes = lambda: in_a_thread(lambda: take_over(order))
    handlers.send_waiting_messages()
    assert len(postbox.to(order.email)) == 1
    return mail_of(order)


def test_a_sender_that_lost_its_lease_during_the_mail_does_not_mark(postbox):
    mail = send_as_a_zombie(postbox)
    assert (mail["status"], mail["attempt"], mail["sent_at"]) == ("waiting", 2, None)


def test_a_sender_that_lost_its_lease_does_not_postpone(postbox):
    postbox.breaks_off = 1
    mail = send_as_a_zombie(postbox)
    assert (mail["attempt"], mail["reason"]) == (2, "")
    [(held,)] = rows(
        "notifications", "SELECT lease_until > now() FROM notifications_message WHERE id = %s", [mail["id"]]
    )
    assert held


def test_negative_control_without_the_attempt_a_zombie_marks(postbox):
    mail = send_as_a_zombie(postbox)
    marked = "UPDATE notifications_message SET status = 'sent' WHERE id = %s AND status = 'waiting'"
    assert changed("notifications", f"{marked} AND attempt = 1", [mail["id"]]) == 0
    assert changed("notifications", marked, [mail["id"]]) == 1
