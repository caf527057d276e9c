"""A slow mail server gets one copy, and one that never replies gets a bounded number of them; then staff decide."""

import time

import pytest
from structlog.testing import capture_logs

from contexts.notifications import handlers
from ops.verify import check
from shop.db.database import execute, fetch_rows
from shop.db.leases import LEASE_DURATION
from tests.concurrency import eventually, run_concurrently
from tests.notifications import example_orders, scripted_mail_server
from tests.notifications.messages import end_pause, publish_order_confirmed, read_email_of, send_until
from tests.notifications.scripted_mail_server import run_silent_mail_server
from tests.staff_accounts import email_of, sign_in_to_admin

LIST = "/admin/notifications/message/"
CLERK = email_of("notifications.change")
COUNT_TRANSACTIONS_SQL = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL AND state <> 'active'"""


def choose_replies(mail_server):
    """Return the replies of a server that accepts groups of commands if the other one does."""
    return scripted_mail_server.PIPELINING_REPLIES if mail_server.offers_pipelining else scripted_mail_server.REPLIES


def add_confirmed_order():
    order = example_orders.add_order()
    publish_order_confirmed(order)
    return order


def test_a_mail_server_that_replies_after_the_other_timeouts_gets_one_copy(mail_server, settings):
    settings.EMAIL_TIMEOUT = settings.EMAIL_GREETING_TIMEOUT = settings.EMAIL_COMMAND_TIMEOUT = 1
    order, observed = add_confirmed_order(), {}

    def observe():
        """Reply when a lease without renewal would have expired, so later than each of the other timeouts."""
        first = read_email_of(order)["lease_until"]
        eventually(lambda: read_email_of(order)["lease_until"] > first + LEASE_DURATION, timeout=30)
        handlers.send_waiting_messages()
        observed["row"] = read_email_of(order)
        [(observed["transactions"],)] = fetch_rows("notifications", COUNT_TRANSACTIONS_SQL)

    mail_server.before_accept = lambda: run_concurrently(observe)
    handlers.send_waiting_messages()
    assert (read_email_of(order)["status"], read_email_of(order)["unknown_outcomes"]) == ("sent", 0)
    assert len(mail_server.mails) == 1
    assert observed["row"]["status"] == "waiting" and observed["row"]["attempt"] == 1
    assert observed["transactions"] == 0


@pytest.mark.parametrize(
    ("phase", "timeout"),
    [
        ("greeting", "EMAIL_GREETING_TIMEOUT"),
        ("EHLO", "EMAIL_COMMAND_TIMEOUT"),
        ("MAIL", "EMAIL_COMMAND_TIMEOUT"),
        ("RCPT", "EMAIL_COMMAND_TIMEOUT"),
        ("DATA", "EMAIL_COMMAND_TIMEOUT"),
        ("content", "EMAIL_DATA_TIMEOUT"),
    ],
)
def test_each_phase_has_its_timeout_and_only_the_last_leaves_the_outcome_open(settings, mail_server, phase, timeout):
    order = add_confirmed_order()
    setattr(settings, timeout, 0.2)
    with run_silent_mail_server(phase, replies=choose_replies(mail_server)) as (settings.EMAIL_PORT, received):
        handlers.send_waiting_messages()
    assert (received or ["greeting"])[-1] == phase
    mail = read_email_of(order)
    assert (mail["status"], mail["unknown_outcomes"]) == ("waiting", 1 if phase == "content" else 0)
    assert "timed out" in mail["reason"]


@pytest.mark.parametrize("drips", [False, True])
def test_a_message_is_sent_once_its_content_is_accepted_whatever_becomes_of_quit(settings, mail_server, drips):
    settings.EMAIL_QUIT_TIMEOUT = 0.2
    orders = [add_confirmed_order(), add_confirmed_order()]
    server = run_silent_mail_server("QUIT", drips=drips, replies=choose_replies(mail_server))
    with server as (settings.EMAIL_PORT, received), capture_logs() as logs:
        started = time.monotonic()
        handlers.send_waiting_messages()
        assert time.monotonic() - started < settings.EMAIL_COMMAND_TIMEOUT
        handlers.send_waiting_messages()
    assert received.count("content") == 2 and received[-1] == "QUIT"
    for order in orders:
        mail = read_email_of(order)
        assert (mail["status"], mail["unknown_outcomes"], mail["reason"]) == ("sent", 0, "")
    [entry] = [entry for entry in logs if entry["event"] == "mail_session_not_closed"]
    assert (entry["log_level"], "timed out" in entry["error"]) == ("warning", True)


@pytest.mark.parametrize(
    ("phase", "timeout"),
    [
        ("greeting", "EMAIL_GREETING_TIMEOUT"),
        ("RCPT", "EMAIL_COMMAND_TIMEOUT"),
        ("content", "EMAIL_DATA_TIMEOUT"),
    ],
)
def test_a_server_that_sends_its_reply_line_by_line_holds_no_worker(settings, mail_server, phase, timeout):
    order = add_confirmed_order()
    setattr(settings, timeout, 0.5)
    with run_silent_mail_server(phase, drips=True, replies=choose_replies(mail_server)) as (settings.EMAIL_PORT, _):
        handlers.send_waiting_messages()
    mail = read_email_of(order)
    assert (mail["status"], mail["unknown_outcomes"]) == ("waiting", 1 if phase == "content" else 0)
    assert "timed out" in mail["reason"]


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (b"251 forwarded\r\n", ("sent", 0)),
        (b"OK\r\n", ("waiting", 1)),
        (b"150 perhaps\r\n", ("waiting", 1)),
        (b"354 go on\r\n", ("waiting", 1)),
        (b"550 no\r\n", ("failed", 0)),
    ],
)
@pytest.mark.breaks("message_goes_out")
def test_an_unexpected_reply_to_the_content_is_no_refusal(settings, mail_server, reply, expected):
    order = add_confirmed_order()
    replies = choose_replies(mail_server) | {"content": reply}
    with run_silent_mail_server("never", replies=replies) as (settings.EMAIL_PORT, _):
        handlers.send_waiting_messages()
    mail = read_email_of(order)
    assert (mail["status"], mail["unknown_outcomes"]) == expected


def test_a_message_is_counted_while_it_is_sent_so_that_the_death_of_a_worker_counts(mail_server):
    order, counted = add_confirmed_order(), []
    mail_server.before_accept = lambda: counted.extend(
        run_concurrently(lambda: read_email_of(order)["unknown_outcomes"])
    )
    handlers.send_waiting_messages()
    assert counted == [1]
    died = add_confirmed_order()
    execute("notifications", "UPDATE notifications_message SET unknown_outcomes = 3 WHERE subject_id = %s", [died.id])
    handlers.send_waiting_messages()
    assert read_email_of(died)["status"] == "parked" and mail_server.mails_to(died.email) == []


def park_message(mail_server, settings):
    """Return an order whose receipt was parked after two attempts without a reply."""
    settings.EMAIL_MAX_UNKNOWN_OUTCOMES = 2
    order = add_confirmed_order()
    mail_server.connections_to_abort = 10
    while read_email_of(order)["status"] == "waiting" and len(mail_server.mails) <= 5:
        handlers.send_waiting_messages()
        end_pause(order)
    mail_server.connections_to_abort = 0
    return order


@pytest.fixture
def parked(mail_server, settings):
    return park_message(mail_server, settings)


@pytest.mark.breaks("message_goes_out")
def test_a_message_without_a_reply_is_sent_a_limited_number_of_times(mail_server, settings):
    parked = park_message(mail_server, settings)
    other = add_confirmed_order()
    send_until(lambda: read_email_of(other)["status"] == "sent")
    assert mail_server.message_id_counts() == {
        read_email_of(parked)["message_id"]: settings.EMAIL_MAX_UNKNOWN_OUTCOMES,
        read_email_of(other)["message_id"]: 1,
    }
    mail = read_email_of(parked)
    assert (mail["status"], mail["due_at"], mail["lease_until"]) == ("parked", None, None)
    assert mail["reason"].startswith("2 attempts ended without a reply, so it may have arrived.")


@pytest.mark.parametrize("reply", ["421 4.3.2 closing", "451 4.3.0 try again", "452 4.3.1 no space"])
def test_a_temporary_refusal_of_the_content_is_no_unknown_outcome(mail_server, settings, reply):
    settings.EMAIL_MAX_UNKNOWN_OUTCOMES = 1
    order = add_confirmed_order()
    mail_server.replies = [reply] * 3
    send_until(lambda: read_email_of(order)["status"] == "sent")
    assert len(mail_server.mails) == 4


def pause_of(order):
    sql = "SELECT extract(epoch FROM due_at - now())::float FROM notifications_message WHERE subject_id = %s"
    [(seconds,)] = fetch_rows("notifications", sql, [order.id])
    return pytest.approx(seconds, abs=30)


def test_attempts_without_a_reply_are_minutes_apart(mail_server):
    order = add_confirmed_order()
    mail_server.connections_to_abort = 2
    for pause in (60, 600):
        handlers.send_waiting_messages()
        assert pause == pause_of(order)
        handlers.send_waiting_messages()
        end_pause(order)
    assert len(mail_server.mails) == 2
    handlers.send_waiting_messages()
    assert read_email_of(order)["status"] == "sent"


def test_the_attempt_after_the_death_of_a_worker_waits_as_long(mail_server):
    order, pauses = add_confirmed_order(), []
    mail_server.before_accept = lambda: pauses.extend(run_concurrently(lambda: pause_of(order)))
    handlers.send_waiting_messages()
    assert pauses == [60]


def test_other_workers_send_the_rest_of_a_batch_while_a_server_takes_long_for_one_mail(mail_server):
    first, other, seen = add_confirmed_order(), add_confirmed_order(), []

    def send_as_another_worker():
        """Wait until the lease of the other message has expired, and send it."""
        eventually(lambda: read_email_of(other)["status"] == "sent", handlers.send_waiting_messages, timeout=30)
        seen.append(read_email_of(first)["attempt"])

    mail_server.before_accept = lambda: run_concurrently(send_as_another_worker)
    handlers.send_waiting_messages()
    assert (seen, read_email_of(first)["status"]) == ([1], "sent")
    assert sorted(mail_server.message_id_counts().values()) == [1, 1]


def decide(order, action, *, permission="notifications.change", **fields):
    data = {"action": action, "_selected_action": [str(read_email_of(order)["id"])], **fields}
    return sign_in_to_admin(permission).post(LIST, data, follow=True).content.decode()


def audit_of(order):
    return fetch_rows(
        "notifications",
        "SELECT actor, action, detail ->> 'reason' FROM shop_auditentry WHERE object_id = %s",
        [str(read_email_of(order)["id"])],
    )


@pytest.mark.breaks("message_goes_out")
def test_verify_and_the_admin_show_a_parked_message(parked):
    [found] = [one for one in check(contexts=["notifications"]) if str(parked.id) in one.subject]
    assert (found.invariant, found.detail.startswith("parked. 2 attempts")) == ("message_goes_out", True)
    page = sign_in_to_admin("notifications.view").get(LIST, {"status": "parked"}).content.decode()
    assert str(parked.id) in page and "2 attempts ended without a reply" in page


def test_staff_resend_a_parked_message_with_its_message_id(mail_server, parked):
    assert "will be sent again" in decide(parked, "resend")
    send_until(lambda: read_email_of(parked)["status"] == "sent")
    assert len(mail_server.message_id_counts()) == 1 and len(mail_server.mails) == 3
    assert audit_of(parked) == [(CLERK, "send again", None)]


def test_staff_mark_a_parked_message_as_sent(mail_server, parked):
    assert "is marked as sent" in decide(parked, "mark_as_sent")
    mail = read_email_of(parked)
    assert (mail["status"], mail["sent_at"] is not None, mail["unknown_outcomes"]) == ("sent", True, 0)
    assert "Only a parked message" in decide(parked, "mark_as_sent")
    handlers.send_waiting_messages()
    assert len(mail_server.mails) == 2
    assert audit_of(parked) == [(CLERK, "mark as sent", None)]


def test_staff_discard_a_parked_message_for_a_reason(mail_server, parked):
    assert "Enter a reason" in decide(parked, "discard", reason=" ")
    assert read_email_of(parked)["status"] == "parked"
    assert "will not be sent" in decide(parked, "discard", reason="the customer has called")
    assert (read_email_of(parked)["status"], read_email_of(parked)["reason"]) == (
        "discarded",
        "the customer has called",
    )
    assert "Only a failed message" in decide(parked, "resend")
    handlers.send_waiting_messages()
    assert len(mail_server.mails) == 2
    assert audit_of(parked) == [(CLERK, "discard", "the customer has called")]


@pytest.mark.breaks("message_goes_out")
@pytest.mark.parametrize("action", ["resend", "mark_as_sent", "discard"])
def test_view_permission_allows_no_decision(parked, action):
    decide(parked, action, permission="notifications.view", reason="because")
    assert read_email_of(parked)["status"] == "parked" and audit_of(parked) == []
