"""The payment's row: how operations on it begin, and how their outcome is written. Races are settled here.

An operation begins with one conditional UPDATE that takes the lease (`attempt` rises, so that whoever held it before can
write no more), and ends with one that is conditional on that attempt and on the version that was read.
"""

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings

from contexts.payments import events
from contexts.payments.models import Payment, Refund
from contexts.payments.service.states import FINAL, RUNNING, Booking, Landing
from shop.database import NothingChanged, Prepared, changed, columns, instances, later, require, transaction
from shop.leases import LEASE, backoff
from shop.money import Money
from shop.outbox import publish

ALIAS = "payments"
SELDOM = 15  # times as long as for an unknown outcome: of what its customer decides, the provider tells us

_INSERT = Prepared("""
INSERT INTO payments_payment
    (id, order_id, customer_id, provider, token, status, amount, authorized, captured, refunded, pending, currency,
     reason, reference, action_url, cancel_wanted, version, sequence, attempt, lease_until, due_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, 0, 0, 0, 0, %s, %s, %s, '', %s, 1, %s, 1, now() + %s::interval, now() + %s::interval)
ON CONFLICT (order_id) DO NOTHING""")

_BEGIN = f"""
UPDATE payments_payment SET {{what}}, version = version + 1, attempt = attempt + 1, lease_until = now() + %s,
    due_at = now(), woken = false
WHERE {{which}} RETURNING {columns(Payment)}"""
_BEGIN_CAPTURE = Prepared(
    _BEGIN.format(what="status = 'capturing'", which="order_id = %s AND status = 'authorized' AND NOT cancel_wanted")
)
_BEGIN_REFUND = _BEGIN.format(
    what="status = 'refunding', refund_id = %s, pending = coalesce(%s, captured - refunded)",
    which="""id = %s AND status = 'captured' AND NOT cancel_wanted AND refunded < captured
             AND refunded + coalesce(%s, 0) <= captured AND currency = coalesce(%s, currency)""",
)

# A running capture or refund is not interrupted: its holder turns round when it has the outcome.
_BUSY = "(status IN ('capturing', 'refunding') AND coalesce(lease_until > now(), false))"
_WANT_CANCEL = f"""
UPDATE payments_payment SET cancel_wanted = true, version = version + 1, due_at = now(), woken = {_BUSY},
    attempt = attempt + (NOT {_BUSY})::int, lease_until = CASE WHEN {_BUSY} THEN lease_until ELSE now() + %s END
WHERE order_id = %s AND NOT cancel_wanted AND NOT status = ANY(%s) RETURNING {columns(Payment)}"""

_SAVE = """
UPDATE payments_payment SET status = %s, token = %s, authorized = %s, captured = %s, refunded = %s, pending = %s,
    refund_id = %s, reason = %s, action_url = %s, cancel_wanted = %s, version = version + 1, sequence = %s,
    lease_until = CASE WHEN %s THEN lease_until END, woken = false,
    due_at = CASE WHEN %s OR woken THEN now() ELSE now() + %s::interval END
WHERE id = %s AND attempt = %s AND version = %s"""


_BOOK = Prepared("""
INSERT INTO payments_ledgerentry (payment_id, booking, account, amount, currency)
VALUES (%(payment)s, %(name)s, 'provider', %(amount)s, %(currency)s),
       (%(payment)s, %(name)s, 'sales', -%(amount)s::bigint, %(currency)s)""")


def insert(row: Payment) -> bool:
    """Write a new payment, unless its order has one already."""
    busy = LEASE if row.status == "processing" else None
    values = (
        row.id, row.order_id, row.customer_id, row.provider, row.token, row.status, row.amount, row.currency, row.reason,
        row.reference, row.cancel_wanted, row.sequence, busy, busy and timedelta(0),
    )  # fmt: skip
    return changed(ALIAS, _INSERT, values) == 1


def present(**which: Any) -> Payment | None:
    """The payment with this `id`, `order_id` or `reference`, as it stands."""
    return Payment.objects.filter(**which).first()


def begin_capture(order_id: UUID) -> Payment | None:
    """Take an authorized payment for capture; None if it is not authorized, or is to be cancelled."""
    return _first(_BEGIN_CAPTURE, [LEASE, order_id])


def begin_refund(refund: Refund, amount: Money | None) -> Payment | None:
    """Take a captured payment for a refund: of all that is left, or of an amount within it. None where it is neither."""
    asked, currency = (amount.amount, amount.currency) if amount else (None, None)
    row = _first(_BEGIN_REFUND, [refund.id, asked, LEASE, refund.payment_id, asked, currency])
    if row:
        refund.amount = row.pending
        refund.save(force_insert=True)
    return row


def want_cancel(order_id: UUID) -> Payment | None:
    """Note that a payment is to be undone, and take it: from any operation that may be cut off, not from the others
    (`woken` says so). None where nothing is left to undo, or that is being done already."""
    return _first(_WANT_CANCEL, [LEASE, order_id, list(FINAL)])


def mine(row: Payment) -> Payment | None:
    """The row as it stands, if this worker still holds it."""
    return present(id=row.id, attempt=row.attempt)


def save(row: Payment, landing: Landing, *, late: bool) -> Payment | None:
    """Write an outcome with all that is true with it; None if the payment has changed since it was read.

    late: somebody may wait for it who does not get this call's answer.
    """
    after = _applied(row, landing)
    said = landing.announce
    if late and landing.status not in (row.status, "unknown") and not landing.more:
        said += (events.PaymentResolved(order_id=row.order_id, payment_id=row.id, status=landing.status),)
    after.sequence += len(said)
    try:
        with transaction(ALIAS):
            require(ALIAS, "payment", _SAVE, _values(after, landing, row.version))
            if landing.booking:
                _book(row, landing.booking)
            _note_refunds(row, after, landing)
            for sequence, event in enumerate(said, row.sequence + 1):
                publish(event, sequence=sequence)
    except NothingChanged:
        return None
    return after


def _first(sql: str, values: list) -> Payment | None:
    return next(iter(instances(Payment, ALIAS, sql, values)), None)


def _applied(row: Payment, landing: Landing) -> Payment:
    after = Payment()
    vars(after).update(vars(row), **landing.changes, status=landing.status, version=row.version + 1)
    return after


def _values(after: Payment, landing: Landing, version: int) -> tuple:
    again = None
    if landing.status == "requires_action":
        again = timedelta(seconds=SELDOM * settings.RECONCILE_SECONDS)
    elif landing.status in RUNNING:
        again = backoff(after.attempt - 1, first=settings.RECONCILE_SECONDS)
    return (
        after.status, after.token, after.authorized, after.captured, after.refunded, after.pending, after.refund_id,
        after.reason[:200], after.action_url, after.cancel_wanted, after.sequence, landing.more, landing.more, again,
        after.id, after.attempt, version,
    )  # fmt: skip


def _book(row: Payment, booking: Booking) -> None:
    values = {"payment": row.id, "name": booking.name, "amount": booking.amount, "currency": row.currency}
    later(ALIAS, _BOOK, values)


def _note_refunds(row: Payment, after: Payment, landing: Landing) -> None:
    if landing.settled:
        Refund.objects.filter(id=row.refund_id).update(status=landing.settled, refusal=landing.refusal[:200])
    if landing.refund_starts:
        Refund.objects.create(
            id=row.id, payment_id=row.id, amount=after.pending, reason="The order was called off.", key=str(row.id),
            status="pending",
        )  # fmt: skip
