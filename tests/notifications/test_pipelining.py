"""At a server with PIPELINING (RFC 2920), each message gets the reply to it, wherever the connection ends."""

import pytest
from django.db import OperationalError, connections

from contexts.notifications import handlers
from shop.db.database import execute
from tests.concurrency import run_concurrently
from tests.notifications import example_orders
from tests.notifications.messages import publish_order_confirmed, read_email_of
from tests.notifications.pipelining_mail_server import run_pipelining_mail_server
from tests.notifications.test_fencing import take_over

REPLIES_BEFORE_MAILS = 2  # greeting, EHLO
REPLIES_PER_MAIL = 4  # MAIL, RCPT, DATA, content


@pytest.fixture
def server(settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST = "127.0.0.1"
    settings.EMAIL_TIMEOUT = settings.EMAIL_GREETING_TIMEOUT = settings.EMAIL_COMMAND_TIMEOUT = 10
    settings.EMAIL_DATA_TIMEOUT = 10
    with run_pipelining_mail_server() as (settings.EMAIL_PORT, server):
        yield server


@pytest.fixture
def orders():
    placed = [example_orders.add_order() for _ in range(3)]
    for order in placed:
        publish_order_confirmed(order)
    return placed


def statuses(orders) -> list[str]:
    return [read_email_of(order)["status"] for order in orders]


def unknown_outcomes(orders) -> list[int]:
    return [read_email_of(order)["unknown_outcomes"] for order in orders]


def message_ids(orders) -> list[str]:
    return [read_email_of(order)["message_id"] for order in orders]


def test_the_next_envelope_is_sent_with_the_content(server, orders):
    """The server replies to the content only once the next command is here."""
    server.awaits_next_envelope = True
    handlers.send_waiting_messages()
    assert statuses(orders) == ["sent"] * 3
    assert [command[:4].upper() for command in server.commands][1:] == ["MAIL", "RCPT", "DATA"] * 3 + ["QUIT"]
    assert server.commands[1].endswith(f"SIZE={len(server.contents[0])}")


@pytest.mark.parametrize("count", range(REPLIES_BEFORE_MAILS + 3 * REPLIES_PER_MAIL + 1))
def test_a_server_that_closes_after_any_reply_leaves_one_outcome_open_at_most(server, orders, count):
    server.closes_after = count
    handlers.send_waiting_messages()
    after_mails = max(0, count - REPLIES_BEFORE_MAILS)
    sent, awaited = divmod(after_mails, REPLIES_PER_MAIL)
    is_content_out = awaited == REPLIES_PER_MAIL - 1
    assert statuses(orders) == ["sent"] * sent + ["waiting"] * (3 - sent)
    assert unknown_outcomes(orders) == [int(is_content_out and n == sent) for n in range(3)]
    assert server.confirmed == message_ids(orders)[:sent]


@pytest.mark.parametrize("count", range(REPLIES_BEFORE_MAILS, REPLIES_BEFORE_MAILS + 3 * REPLIES_PER_MAIL))
def test_a_message_is_recorded_as_sent_only_after_the_reply_to_it(server, orders, count):
    """In the end each message was confirmed once, and only one with an unknown outcome was received twice."""
    server.closes_after = count
    handlers.send_waiting_messages()
    unknown = sum(unknown_outcomes(orders))
    for order in orders:
        execute(
            "notifications",
            "UPDATE notifications_message SET due_at = now() WHERE subject_id = %s AND status = 'waiting'",
            [order.id],
        )
    handlers.send_waiting_messages()
    assert statuses(orders) == ["sent"] * 3
    assert sorted(server.confirmed) == sorted(message_ids(orders))
    assert len(server.contents) == 3 + unknown


@pytest.mark.parametrize("is_lenient", [False, True], ids=["refuses DATA", "accepts DATA"])
def test_a_refused_recipient_fails_that_message_alone(server, orders, is_lenient):
    """A server may accept DATA without a recipient; then nothing but the end of the content is sent (RFC 2920, 3.1)."""
    server.scripted = {"RCPT": ["250 OK", "550 5.1.1 unknown", "250 OK"]}
    if is_lenient:
        server.scripted |= {"DATA": ["354 go on"] * 3, "content": ["250 OK", "554 no valid recipients"]}
    handlers.send_waiting_messages()
    assert statuses(orders) == ["sent", "failed", "sent"]
    assert read_email_of(orders[1])["reason"] == "550 5.1.1 unknown"
    first, _, third = message_ids(orders)
    assert server.confirmed == [first, third]
    assert [content for content in server.contents if not content] == [b""] * is_lenient
    assert ("RSET" in server.commands) is not is_lenient


def test_a_refusal_holds_if_the_server_closes_instead_of_ending_the_empty_content(server, orders):
    server.scripted = {"RCPT": ["250 OK", "550 5.1.1 unknown"], "DATA": ["354 go on"] * 2}
    server.closes_after = REPLIES_BEFORE_MAILS + 2 * REPLIES_PER_MAIL - 1
    handlers.send_waiting_messages()
    assert statuses(orders) == ["sent", "failed", "waiting"] and unknown_outcomes(orders) == [0, 0, 0]


@pytest.mark.parametrize(
    ("reply", "expected"),
    [("550 5.7.1 no", "failed"), ("451 4.3.0 later", "waiting"), ("354 what", "waiting"), ("what", "waiting")],
)
def test_a_reply_to_a_content_concerns_that_message_alone(server, orders, reply, expected):
    server.scripted = {"content": ["250 OK", reply, "250 OK"]}
    handlers.send_waiting_messages()
    assert statuses(orders)[:2] == ["sent", expected]
    is_unknown = reply in ("354 what", "what")
    assert unknown_outcomes(orders) == [0, int(is_unknown), 0]
    assert statuses(orders)[2] == ("waiting" if is_unknown else "sent")
    handlers.send_waiting_messages()
    assert statuses(orders)[2] == "sent"


@pytest.mark.parametrize("phase", ["MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize("reply", ["421 4.3.2 closing", "150 what", "what"])
def test_an_unexpected_reply_to_an_envelope_ends_the_connection(server, orders, phase, reply):
    usual = "354 go on" if phase == "DATA" else "250 OK"
    server.scripted = {phase: [usual, reply]}
    handlers.send_waiting_messages()
    assert statuses(orders) == ["sent", "waiting", "waiting"] and unknown_outcomes(orders) == [0, 0, 0]
    assert bool(read_email_of(orders[1])["reason"]) and not read_email_of(orders[2])["reason"]
    assert len(server.contents) == 1


@pytest.mark.parametrize("reply", ["450 4.1.0 later", "553 5.1.8 not you"])
def test_a_refused_sender_delays_the_message(server, orders, reply):
    server.scripted = {"MAIL": ["250 OK", reply], "RCPT": ["250 OK", "503 no sender"]}
    handlers.send_waiting_messages()
    assert statuses(orders) == ["sent", "waiting", "sent"] and read_email_of(orders[1])["reason"] == reply
    assert "RSET" not in server.commands


def test_replies_of_many_lines_that_arrive_in_pieces_are_read_one_by_one(server, orders):
    server.chunk_size = 1
    many = "250-first\r\n250-2\r\n250 OK"
    server.scripted = {"MAIL": [many] * 3, "RCPT": [many, "550-no\r\n550 such user", many], "content": [many] * 3}
    handlers.send_waiting_messages()
    assert statuses(orders) == ["sent", "failed", "sent"]


def test_each_reply_of_a_group_has_its_own_time(server, orders, settings):
    settings.EMAIL_COMMAND_TIMEOUT, server.delay = 2, 0.8  # so the replies to an envelope take longer together
    handlers.send_waiting_messages()
    assert statuses(orders) == ["sent"] * 3


def test_a_mail_is_recorded_before_the_refusal_of_the_next_one(server, orders):
    """The database fails when the refusal is to be recorded, which must not send the first one again."""
    server.scripted = {"RCPT": ["250 OK", "550 5.1.1 unknown"]}

    def fail_to_mark(execute_statement, sql, *arguments):
        if "'failed'" in sql:
            raise OperationalError("the database is away")
        return execute_statement(sql, *arguments)

    with connections["notifications"].execute_wrapper(fail_to_mark), pytest.raises(OperationalError):
        handlers.send_waiting_messages()
    assert statuses(orders) == ["sent", "waiting", "waiting"]


def test_no_command_is_sent_as_content_if_the_database_fails(server, orders):
    """The server is ready for the first content when the attempt cannot be counted."""

    def fail_to_begin(execute_statement, sql, *arguments):
        if "begun" in sql:
            raise OperationalError("the database is away")
        return execute_statement(sql, *arguments)

    with connections["notifications"].execute_wrapper(fail_to_begin), pytest.raises(OperationalError):
        handlers.send_waiting_messages()
    assert (server.commands[-1], server.contents, server.leftover) == ("DATA", [], b"")


@pytest.mark.parametrize("mail_server", [True], indirect=True, ids=["pipelining"])
def test_the_content_of_an_offered_message_stays_here_if_its_lease_is_lost(mail_server, orders):
    """The server is ready for its content, which only the end of the connection can take back."""
    mail_server.before_accept = lambda: run_concurrently(lambda: take_over(orders[1]))
    handlers.send_waiting_messages()
    assert statuses(orders) == ["sent", "waiting", "waiting"]
    assert mail_server.mails_to(orders[1].email) == []
    handlers.send_waiting_messages()
    assert statuses(orders) == ["sent", "waiting", "sent"] and read_email_of(orders[1])["attempt"] == 2
