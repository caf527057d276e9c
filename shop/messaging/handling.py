"""Handling: claim due inbox rows, run their handlers, and retry or park what fails."""

from contextlib import ExitStack

import structlog
from django.conf import settings
from django.db import connections

from shop.calls import tracing
from shop.db.database import (
    OUTAGE_ERRORS,
    NoRowChanged,
    PreparedStatement,
    build_column_list,
    execute,
    execute_or_abort,
    fetch_instances,
    fetch_rows,
    joinable_transaction,
)
from shop.db.leases import LEASE_DURATION, LeaseLost, backoff, keep_lease_alive
from shop.messaging import events
from shop.messaging.events import Handler
from shop.models import InboxRow

MAX_FAILURES = 5
MAX_STARTS = 5
BATCH_SIZE = 10

log = structlog.get_logger(__name__)

_CLAIM_DUE = f"""
UPDATE shop_inboxrow SET attempt = attempt + 1, starts = starts + 1, lease_until = now() + %s
WHERE id = ANY(ARRAY(
    SELECT id FROM shop_inboxrow row
    WHERE handled_at IS NULL AND parked_at IS NULL AND due_at <= now()
      AND (lease_until IS NULL OR lease_until <= now()) AND {{started}}
      AND (NOT ordered OR sequence = (
            SELECT min(sequence) FROM shop_inboxrow earlier
            WHERE earlier.handler = row.handler AND earlier.stream = row.stream AND earlier.handled_at IS NULL))
    ORDER BY due_at LIMIT %s FOR UPDATE SKIP LOCKED))
RETURNING {build_column_list(InboxRow)}"""
_CLAIM_NEW = PreparedStatement(_CLAIM_DUE.format(started="starts = 0"))
_CLAIM_ABANDONED = PreparedStatement(_CLAIM_DUE.format(started="starts > 0"))

# The row is marked in the transaction of the effect: if another worker has taken over, there is no effect.
_WHERE_LEASE_HELD = "WHERE id = %s AND attempt = %s AND handled_at IS NULL"
_FINISH = f"UPDATE shop_inboxrow SET handled_at = now(), lease_until = NULL, error = '' {_WHERE_LEASE_HELD}"
_FINISH_LABEL = "inbox row"


def handle_due(context: str) -> int:
    """Claim the due rows of one context and run their handlers. Returns the number of claimed rows."""
    return handle_new(context) + handle_abandoned(context)


def handle_new(context: str) -> int:
    """Claim due rows that were never started, and run their handlers. Returns the number of claimed rows."""
    return _handle(context, _CLAIM_NEW, BATCH_SIZE)


def handle_abandoned(context: str) -> int:
    """Claim one row that a worker started and did not finish, and run its handler. Returns the number of claimed rows.

    It is claimed alone, because its handler may be what killed the worker.
    """
    return _handle(context, _CLAIM_ABANDONED, 1)


def _handle(context: str, claim: PreparedStatement, limit: int) -> int:
    claimed = fetch_instances(InboxRow, context, claim, [LEASE_DURATION, limit])
    with ExitStack() as leases:
        for row in claimed:
            leases.enter_context(keep_lease_alive(row, context))
        for row in sorted(claimed, key=lambda row: row.id):
            _run(context, row)
    return len(claimed)


def _run(context: str, row: InboxRow) -> None:
    handler = events.find_handler(row.handler, row.name)
    if handler is None:
        _postpone_or_park(context, row, f"this release has no handler {row.handler} for {row.name}")
    elif row.starts > MAX_STARTS:
        _park(context, row, f"started {MAX_STARTS} times without finishing")
    elif row.envelope["version"] > handler.event.version:  # a process of a later release has accepted it
        _postpone_or_park(context, row, f"this release knows {row.name} up to version {handler.event.version}")
    else:
        _run_handler(context, row, handler)


def _run_handler(context: str, row: InboxRow, handler: Handler) -> None:
    with tracing.use_trace(events.build_trace(row.envelope)):
        try:
            _apply(context, row, handler)
            log.info("event_handled", handler=row.handler, name=row.name, stream=row.stream, sequence=row.sequence)
        except LeaseLost:
            _log_lease_lost(row)
        except OUTAGE_ERRORS as error:
            connections[context].close()  # it may be broken; the next statement opens another one
            _postpone(context, row, repr(error))
        except Exception as error:
            if isinstance(error, NoRowChanged) and error.args == (_FINISH_LABEL,):
                return _log_lease_lost(row)
            log.exception("event_failed", handler=row.handler, stream=row.stream, sequence=row.sequence)
            (_park if row.failures + 1 >= MAX_FAILURES else _postpone)(context, row, repr(error), failed=1)


def _apply(context: str, row: InboxRow, handler: Handler) -> None:
    event = handler.decode(row.envelope)
    if handler.atomic:
        with joinable_transaction(context):
            handler.run(event)
            execute_or_abort(context, _FINISH_LABEL, _FINISH, [row.pk, row.attempt])
    else:
        handler.run(event)
        if not execute(context, _FINISH, [row.pk, row.attempt]):
            raise LeaseLost


def _log_lease_lost(row: InboxRow) -> None:
    log.warning("event_lease_lost", handler=row.handler, stream=row.stream, sequence=row.sequence)


def _postpone(context: str, row: InboxRow, reason: str, failed: int = 0) -> None:
    log.warning("event_postponed", handler=row.handler, stream=row.stream, sequence=row.sequence, reason=reason)
    execute(
        context,
        f"""UPDATE shop_inboxrow SET due_at = now() + %s, lease_until = NULL, starts = 0,
                   failures = failures + %s, error = %s {_WHERE_LEASE_HELD}""",
        [backoff(row.failures + row.attempt), failed, reason, row.pk, row.attempt],
    )


def _postpone_or_park(context: str, row: InboxRow, reason: str) -> None:
    """Postpone a row that this release cannot handle. Park it if no other release has handled it in time."""
    sql = "SELECT received_at <= now() - %s FROM shop_inboxrow WHERE id = %s"
    if (True,) in fetch_rows(context, sql, [settings.PARK_REFUSED_EVENTS_AFTER, row.pk]):
        _park(context, row, reason)
    else:
        _postpone(context, row, reason)


def _park(context: str, row: InboxRow, reason: str, failed: int = 0) -> None:
    log.error("event_parked", handler=row.handler, stream=row.stream, sequence=row.sequence, reason=reason)
    execute(
        context,
        f"""UPDATE shop_inboxrow SET parked_at = now(), lease_until = NULL, failures = failures + %s, error = %s
            {_WHERE_LEASE_HELD}""",
        [failed, reason, row.pk, row.attempt],
    )
