"""Sending: each waiting e-mail by one worker at a time, again and again until the server has taken or refused it.

Note: SMTP has no second phase. A worker that dies after the server has said yes, and before that is written down,
leaves a message that is sent once more. It then has the same Message-ID, by which mail programs know it as the same.
We prefer a rare double to a loss. A lost database connection alone does not lead there: see `_mark_sent`.
"""

import time
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import connections

from contexts.notifications.channels import email
from contexts.notifications.events import MessageFailed
from contexts.notifications.models import Message
from contexts.notifications.service.messages import ALIAS
from contexts.orders.interface import OrderSummary, orders
from shop import leases
from shop.database import OUTAGES, changed, rows, transaction
from shop.leases import Fenced, backoff
from shop.outbox import publish

BATCH = 50

log = structlog.get_logger(__name__)

_MINE = "WHERE id = %s AND attempt = %s AND status = 'waiting'"


def send_due() -> None:
    """Send what is due and what nobody else sends at this moment. Raises an outage that is not the mail server's."""
    with ExitStack() as held:
        taken = leases.take_due(Message, ALIAS, limit=BATCH)
        for message in taken:
            held.enter_context(leases.renewing(message, ALIAS))
        if taken:
            _send_batch(taken)


def _send_batch(messages: Sequence[Message]) -> None:
    """One question to orders and one connection for them all."""
    left = deque(sorted(messages, key=lambda message: message.id))  # what happened first is told first
    try:
        facts = _orders_of(left)
        with email.connection() as link:
            while left:
                _send_one(link, left.popleft(), facts)
    except email.Disconnected:
        _postpone(left, "", delay=timedelta(0))  # it may be the message just tried: the others do not wait for it
    except email.Unreachable as outage:
        log.warning("mail_server_unreachable", error=str(outage), waiting=len(left))
        _postpone(left, str(outage))
    except OUTAGES as outage:
        _postpone(left, str(outage))
        raise


def _orders_of(messages: Iterable[Message]) -> dict[UUID, OrderSummary]:
    wanted = dict.fromkeys(message.order_id for message in messages)
    return {order.id: order for order in orders.summaries(order_ids=tuple(wanted))}


def _send_one(link: Any, message: Message, facts: dict[UUID, OrderSummary]) -> None:
    try:
        _hold(message)
        _deliver(link, message, facts.get(message.order_id))
    except Fenced:
        log.warning("message_taken_over", message=str(message.id))


def _deliver(link: Any, message: Message, order: OrderSummary | None) -> None:
    try:
        email.deliver(link, _letter(message, order))
    except email.Refused as refusal:
        _fail(message, str(refusal))
    except email.Disconnected as outage:
        _postpone([message], str(outage))
        raise
    except email.Deferred as delay:
        _postpone([message], str(delay))
    except Exception as error:
        log.exception("message_not_sent", message=str(message.id), template=message.template)
        _postpone([message], type(error).__name__)
    else:
        _mark_sent(message)


def _letter(message: Message, order: OrderSummary | None) -> email.Letter:
    if order is None:
        raise email.Refused("orders does not know this order")
    subject, text = email.render(message.template, order=order, site=settings.SITE_URL)
    return email.Letter(message_id=message.message_id, to=order.email, subject=subject, text=text)


def _hold(message: Message) -> None:
    """Make sure, right before the mail goes out, that it is still ours to send. Raises Fenced."""
    sql = f"UPDATE notifications_message SET lease_until = now() + %s {_MINE}"
    _mine(changed(ALIAS, sql, [leases.LEASE, message.id, message.attempt]))


def _mark_sent(message: Message) -> None:
    """Note that the server has taken it; through a lost connection too, since otherwise it would go out twice."""
    patience = time.monotonic() + leases.LEASE.total_seconds()
    sql = f"""UPDATE notifications_message SET status = 'sent', sent_at = now(), due_at = NULL, lease_until = NULL,
                     reason = '' {_MINE}"""
    while True:
        try:
            _mine(changed(ALIAS, sql, [message.id, message.attempt]))
            log.info("message_sent", message=str(message.id), template=message.template)
            return
        except OUTAGES:
            connections[ALIAS].close()  # it may be broken; the next statement gets another
            if time.monotonic() > patience:
                raise
            time.sleep(0.1)


def _fail(message: Message, reason: str) -> None:
    """Give up on a message, visibly. Staff may have it sent again."""
    log.warning("message_failed", message=str(message.id), template=message.template, reason=reason)
    with transaction(ALIAS):
        failed = rows(
            ALIAS,
            f"""UPDATE notifications_message SET status = 'failed', due_at = NULL, lease_until = NULL, reason = %s,
                       sequence = sequence + 1 {_MINE} RETURNING sequence""",
            [reason, message.id, message.attempt],
        )
        _mine(len(failed))
        publish(MessageFailed(message_id=message.id, reason=reason), sequence=failed[0][0])


def _postpone(messages: Iterable[Message], reason: str, delay: timedelta | None = None) -> None:
    """Let go of messages until later: an outage is not an attempt, so there is no limit."""
    mine = {message.id: message.attempt for message in messages}
    if mine:
        changed(
            ALIAS,
            """UPDATE notifications_message AS message SET due_at = now() + %s, lease_until = NULL, reason = %s
               FROM unnest(%s::uuid[], %s::int[]) AS mine (id, attempt)
               WHERE message.id = mine.id AND message.attempt = mine.attempt AND status = 'waiting'""",
            [backoff(max(mine.values())) if delay is None else delay, reason[:300], list(mine), list(mine.values())],
        )


def _mine(found: int) -> None:
    if not found:
        raise Fenced
