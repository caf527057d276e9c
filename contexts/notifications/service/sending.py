"""Sending of e-mails: each by one worker at a time, retried until the mail server accepts or refuses the message.

A process sends over several connections, each in a thread that claims messages like a worker of another process.

SMTP has no two-phase commit. If a worker or a connection dies after the server has accepted a message and before this is
recorded, the message is sent once more, with the same Message-ID, by which mail clients recognize a duplicate. We prefer a
rare duplicate to a lost message, but only EMAIL_MAX_UNKNOWN_OUTCOMES times: then the message is parked for staff. Each attempt
is counted before it begins, and no longer counts once its outcome is known, so an attempt during which the worker dies counts.
The attempts are minutes apart (RFC 5321, 4.5.4.1), so that a mail server that fails for a short time parks no message.
A lost database connection alone causes no duplicate: see `_Sender`.
"""

import math
import time
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from contextvars import copy_context
from datetime import timedelta
from typing import NamedTuple, Self
from uuid import UUID

import structlog
from django.conf import settings
from django.db import connections

from contexts.notifications.channels import email
from contexts.notifications.channels.international_email import InternationalEmail
from contexts.notifications.events import MessageFailed
from contexts.notifications.interface import MessageTemplate
from contexts.notifications.models import ALIAS, Message
from contexts.orders.interface import OrderSummary, orders
from shop.db import leases
from shop.db.database import (
    OUTAGE_ERRORS,
    PreparedStatement,
    close_all_connections,
    execute,
    fetch_rows,
    transaction,
)
from shop.db.leases import LeaseLost, backoff
from shop.messaging.outbox import Revision, publish
from shop.text import format_count

MESSAGES_PER_CONNECTION = 25  # claimed at once for a connection; another one is opened if more are due
RUN_SECONDS = 5.0  # then no further messages are claimed, so that other timers run
MAX_REASON_LENGTH = 300

log = structlog.get_logger(__name__)

_IF_HELD_SQL = "WHERE id = %s AND attempt = %s AND status = 'waiting'"

# Records the message that was sent last, and begins the attempt of the next one; either id may be NULL. A repetition, after
# the connection was lost, changes nothing.
_RECORD_AND_BEGIN = PreparedStatement(f"""
    WITH sent AS (
        UPDATE notifications_message
        SET status = 'sent', sent_at = now(), due_at = NULL, lease_until = NULL, reason = '', unknown_outcomes = 0
        {_IF_HELD_SQL} RETURNING 1
    ), begun AS (
        UPDATE notifications_message
        SET lease_until = now() + %s, due_at = now() + %s, unknown_outcomes = %s {_IF_HELD_SQL} RETURNING 1
    )
    SELECT EXISTS (SELECT FROM sent), EXISTS (SELECT FROM begun)""")


def send_due() -> None:
    """Send the messages that are due and that no other worker is sending, over up to EMAIL_CONNECTIONS connections.

    Raises OUTAGE_ERRORS from the database or from orders; mail-server failures are handled.
    """
    began, claim_until = time.monotonic(), time.monotonic() + RUN_SECONDS
    messages = _claim(MESSAGES_PER_CONNECTION * settings.EMAIL_CONNECTIONS)
    if not messages:
        return
    number = math.ceil(len(messages) / MESSAGES_PER_CONNECTION)
    shares = [messages[first::number] for first in range(number)]
    processed = _send_batch(messages, claim_until) if number == 1 else _send_in_threads(shares, claim_until)
    seconds = time.monotonic() - began
    log.info("emails_processed", messages=processed, connections=len(shares), seconds=round(seconds, 3))


def _claim(limit: int) -> list[Message]:
    """Acquire the leases of due messages, and return them in the order of their events."""
    return sorted(leases.acquire_due_leases(Message, ALIAS, limit=limit), key=lambda message: message.id)


def _send_in_threads(shares: Sequence[Sequence[Message]], claim_until: float) -> int:
    """Send each share over a connection of its own. Raises the error of a thread after all have ended."""
    with ThreadPoolExecutor(len(shares), thread_name_prefix="mail") as pool:
        runs = [pool.submit(copy_context().run, _send_in_thread, share, claim_until) for share in shares]
    return sum(run.result() for run in runs)


def _send_in_thread(share: Sequence[Message], claim_until: float) -> int:
    try:
        return _send_batch(share, claim_until)
    finally:
        close_all_connections()


def _send_batch(messages: Sequence[Message], claim_until: float) -> int:
    """Send messages over one connection, and with one call to orders. Returns how many were processed.

    claim_until: after a full batch, claim the next one for the same connection until then, by `time.monotonic`.
    Only the lease of the message that is being sent is renewed: if the server takes minutes for it, other workers take over
    the rest of the batch.
    """
    remaining, processed, is_full = deque(messages), 0, len(messages) >= MESSAGES_PER_CONNECTION
    try:
        orders_by_id = _fetch_orders(remaining)
        with email.open_connection() as connection, _Sender(connection, remaining) as sender:
            while remaining:
                sender.send(remaining.popleft(), orders_by_id)
                processed += 1
                if not remaining:
                    sender.finish()
                    if is_full and time.monotonic() < claim_until:
                        remaining.extend(_claim(MESSAGES_PER_CONNECTION))
                        is_full = len(remaining) == MESSAGES_PER_CONNECTION
                        orders_by_id = _fetch_orders(remaining)
    except email.Disconnected:
        _postpone(remaining, "", delay=timedelta(0))  # the failed message may be the cause, so do not delay the others
    except email.Unreachable as outage:
        log.warning("mail_server_unreachable", error=str(outage), waiting=len(remaining))
        _postpone(remaining, str(outage))
    except OUTAGE_ERRORS as outage:
        _postpone(remaining, str(outage))
        raise
    return processed


def _fetch_orders(messages: Iterable[Message]) -> dict[UUID, OrderSummary]:
    order_ids = dict.fromkeys(message.order_id for message in messages if message.order_id)
    found = {order.id: order for order in orders.summaries(order_ids=tuple(order_ids))}
    close_all_connections()  # back to their pools: the mail server may take minutes
    return found


class _Offer(NamedTuple):
    """A message that the server was offered, and the e-mail for it."""

    message: Message
    mail: InternationalEmail


class _Sender:
    """Sends messages over one connection, one after the other.

    A message is offered to the server together with the content of the one before, if the server supports that. Its attempt
    begins when the server is ready for its content. That the server has accepted it is recorded by the statement that begins
    the next attempt. Until then its lease is renewed.
    """

    def __init__(self, connection: email.Connection, remaining: deque[Message]) -> None:
        self.connection, self.remaining = connection, remaining
        self.offered: _Offer | None = None  # its content is next
        self.accepted: Message | None = None  # by the server, which is not recorded yet
        self.lease = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.lease.close()

    def send(self, message: Message, orders_by_id: Mapping[UUID, OrderSummary]) -> None:
        """Send the message that was offered last, and offer this one.

        Raises Disconnected if the connection cannot be used any more. A message that was not offered goes back to `remaining`.
        """
        try:
            if message.unknown_outcomes >= settings.EMAIL_MAX_UNKNOWN_OUTCOMES:
                self.record_last()  # which is retried, other than what follows
                return _park(message, message.reason)
        except LeaseLost:
            return _report_lost_lease(message)
        try:
            order = orders_by_id.get(message.order_id) if message.order_id else None
            offer = _Offer(message, _build_email(message, order))
        except Exception as error:
            return self._record_failure(message, error)
        try:
            self._transfer(offer)
        except email.Disconnected:
            self.remaining.appendleft(message)
            raise
        self._offer(offer)

    def finish(self) -> None:
        """Send the message that was offered last, and record that the server accepted it."""
        self._transfer(None)
        self.record_last()

    def record_last(self) -> None:
        """Record that the server accepted the last message."""
        if self.accepted:
            self._record_and_begin(None)

    def _offer(self, offer: _Offer) -> None:
        close_all_connections()
        try:
            self.connection.offer(offer.mail)
            self.offered = offer
        except Exception as error:
            self._record_failure(offer.message, error)

    def _transfer(self, following: _Offer | None) -> None:
        """Send the content of the message that was offered, if there is one. The following one may be announced with it."""
        current, self.offered = self.offered, None
        if current is None:
            return
        try:
            self._begin_attempt(current.message)
        except LeaseLost:
            _report_lost_lease(current.message)
            return self.connection.withdraw()
        close_all_connections()
        try:
            self.connection.transfer(current.mail, following.mail if following else None)
            self.accepted = current.message
        except Exception as error:
            self.lease.close()
            if not isinstance(error, email.OutcomeUnknown):
                current.message.unknown_outcomes -= 1  # the server has certainly not accepted it
            self._record_failure(current.message, error)

    def _record_failure(self, message: Message, error: Exception) -> None:
        """Record why a message was not sent. Raises the error if it is the end of the connection."""
        self.record_last()
        try:
            _record_failure(message, error)
        except LeaseLost:
            _report_lost_lease(message)
        if isinstance(error, email.Disconnected):
            raise error

    def _begin_attempt(self, message: Message) -> None:
        """Renew the lease and count the attempt, right before the message is sent. Raises LeaseLost.

        If the worker dies now, the outcome is unknown, so the message becomes due after the pause for that.
        """
        if not self._record_and_begin(message):
            raise LeaseLost
        self.lease.enter_context(leases.keep_lease_alive(message, ALIAS))
        message.unknown_outcomes += 1

    def _record_and_begin(self, next_message: Message | None) -> bool:
        """Record the last message and begin the next. Returns whether it has begun.

        If there is one to record, retry on a new connection, because it would be sent twice otherwise.
        """
        count = next_message.unknown_outcomes + 1 if next_message else 0
        parameters = [
            *_get_lease(self.accepted),
            leases.LEASE_DURATION, _pause_after_unknown_outcome(count), count, *_get_lease(next_message),
        ]  # fmt: skip
        deadline = time.monotonic() + leases.LEASE_DURATION.total_seconds()
        while True:
            try:
                [(is_recorded, has_begun)] = fetch_rows(ALIAS, _RECORD_AND_BEGIN, parameters)
                break
            except OUTAGE_ERRORS:
                connections[ALIAS].close()  # it may be broken; the next statement opens another
                if self.accepted is None or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        self.lease.close()
        if self.accepted and is_recorded:
            log.info("message_sent", message=str(self.accepted.id), template=self.accepted.template)
        elif self.accepted:
            _report_lost_lease(self.accepted)
        self.accepted = None
        return bool(has_begun)


def _get_lease(message: Message | None) -> tuple[UUID | None, int | None]:
    return (message.id, message.attempt) if message else (None, None)


def _report_lost_lease(message: Message) -> None:
    log.warning("message_taken_over", message=str(message.id))


def _record_failure(message: Message, error: Exception) -> None:
    if isinstance(error, email.Refused):
        _mark_failed(message, str(error))
    elif isinstance(error, email.OutcomeUnknown):
        times = message.unknown_outcomes
        log.warning("message_outcome_unknown", message=str(message.id), times=times, error=str(error))
        if message.unknown_outcomes >= settings.EMAIL_MAX_UNKNOWN_OUTCOMES:
            _park(message, str(error))
        else:
            _postpone([message], str(error), delay=_pause_after_unknown_outcome(times))
    elif isinstance(error, email.Deferred | email.Disconnected):
        _postpone([message], str(error))
    else:
        log.error("message_not_sent", message=str(message.id), template=message.template, exc_info=error)
        _postpone([message], type(error).__name__)


def _build_email(message: Message, order: OrderSummary | None) -> InternationalEmail:
    if order is None:
        raise email.Refused("orders does not know this order")
    refund = next((refund for refund in order.refunds if str(refund.id) == message.occurrence), None)
    if message.template == MessageTemplate.ORDER_REFUNDED and refund is None:
        raise email.Deferred("orders does not know this refund yet")
    subject, text = email.render(MessageTemplate(message.template), order=order, refund=refund, site=settings.SITE_URL)
    outgoing = email.OutgoingEmail(message_id=message.message_id, to=order.email, subject=subject, text=text)
    return email.build(outgoing)


def _pause_after_unknown_outcome(count: int) -> timedelta:
    """Return how long to wait after this number of unknown outcomes: by default 1, 10 and from then on 100 minutes."""
    return timedelta(seconds=settings.EMAIL_UNKNOWN_OUTCOME_PAUSE * 10 ** (min(count, 3) - 1))


def _mark_failed(message: Message, reason: str) -> None:
    """Record that the message was refused, and publish it. Staff can resend the message."""
    log.warning("message_failed", message=str(message.id), template=message.template, reason=reason)
    with transaction(ALIAS):
        failed = fetch_rows(
            ALIAS,
            f"""UPDATE notifications_message SET status = 'failed', due_at = NULL, lease_until = NULL, reason = %s,
                       unknown_outcomes = 0, sequence = sequence + 1 {_IF_HELD_SQL} RETURNING sequence""",
            [reason, message.id, message.attempt],
        )
        _raise_if_fenced(len(failed))
        publish(MessageFailed(message_id=message.id, reason=reason), row=Revision(failed[0][0]))


def _park(message: Message, reason: str) -> None:
    """Stop sending a message that may have arrived several times. Staff decide about it."""
    log.error("message_parked", message=str(message.id), template=message.template, times=message.unknown_outcomes)
    why = f"{format_count(message.unknown_outcomes, 'attempt')} ended without a reply, so it may have arrived. {reason}".strip()
    sql = f"""UPDATE notifications_message SET status = 'parked', due_at = NULL, lease_until = NULL, reason = %s
              {_IF_HELD_SQL}"""
    _raise_if_fenced(execute(ALIAS, sql, [why[:MAX_REASON_LENGTH], message.id, message.attempt]))


def _postpone(messages: Collection[Message], reason: str, delay: timedelta | None = None) -> None:
    """Release the leases of messages and make them due later. An outage is not an attempt, so there is no limit.

    delay: by default it grows with the attempts.
    """
    if messages:
        execute(
            ALIAS,
            """UPDATE notifications_message AS message
               SET due_at = now() + %s, lease_until = NULL, reason = %s, unknown_outcomes = held.unknown_outcomes
               FROM unnest(%s::uuid[], %s::int[], %s::int[]) AS held (id, attempt, unknown_outcomes)
               WHERE message.id = held.id AND message.attempt = held.attempt AND status = 'waiting'""",
            [
                backoff(max(message.attempt for message in messages)) if delay is None else delay,
                reason[:MAX_REASON_LENGTH],
                [message.id for message in messages],
                [message.attempt for message in messages],
                [message.unknown_outcomes for message in messages],
            ],
        )


def _raise_if_fenced(updated: int) -> None:
    if not updated:
        raise LeaseLost
