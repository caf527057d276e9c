"""What follows from a provider's answer: the payment's state table, as functions without side effects.

Each takes the payment's row as it stands and the answer, and says what is to be written. Amounts only grow. The states
declined, voided and refunded absorb, but for money found at the provider after all: that is given back.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from contexts.payments import events
from contexts.payments.models import Payment
from contexts.payments.providers import Answer
from shop.events import Event
from shop.money import Money

OPEN = ("processing", "unknown", "requires_action")  # nobody knows yet whether there is money
VOIDABLE = (*OPEN, "authorized", "capture_refused")
FINAL = ("declined", "voided", "refunded")
RUNNING = ("unknown", "requires_action", "capturing", "voiding", "refunding")  # to be looked at again


@dataclass(frozen=True, kw_only=True)
class Booking:
    """Money that moved: into the shop, or (negative) back."""

    name: str
    amount: int


@dataclass(frozen=True, kw_only=True)
class Landing:
    """What is to be written: the status with the columns that change, and all that is true with it."""

    status: str
    changes: dict[str, Any]
    announce: tuple[Event, ...] = ()
    booking: Booking | None = None
    settled: Literal["", "done", "refused"] = ""  # what became of the running refund
    refusal: str = ""
    refund_starts: bool = False  # of changes["pending"]
    more: bool = False  # the next operation follows at once, under the same lease
    alarm: str = ""


def land(row: Payment, answer: Answer) -> Landing:
    """What a provider's answer means for a payment."""
    effect = _TABLE.get(row.status, {}).get(answer.status, _stay)
    return turned(row, effect(row, answer))


def turned(row: Payment, landing: Landing) -> Landing:
    """The same, going on to the undo if the payment is to be cancelled: void what is not captured, refund what is."""
    if not (row.cancel_wanted or landing.changes.get("cancel_wanted")):
        return landing
    if landing.status in VOIDABLE:
        return replace(landing, status="voiding", changes=landing.changes | {"token": ""}, more=True)
    if landing.status == "captured":
        rest = landing.changes.get("captured", row.captured) - landing.changes.get("refunded", row.refunded)
        changes = landing.changes | {"pending": rest, "refund_id": row.id}  # one per payment, whoever asks how often
        return replace(landing, status="refunding", changes=changes, refund_starts=True, more=True)
    return landing


def must_turn(row: Payment) -> bool:
    """Whether a cancel was asked for and no operation stands in its way."""
    return row.cancel_wanted and (row.status in VOIDABLE or row.status == "captured")


def _facts(row: Payment) -> dict[str, Any]:
    return {"order_id": row.order_id, "payment_id": row.id}


def _stay(row: Payment, answer: Answer) -> Landing:
    return Landing(status="unknown" if row.status == "processing" else row.status, changes={})


def _authorized(row: Payment, answer: Answer) -> Landing:
    said = events.PaymentAuthorized(**_facts(row), amount=Money(row.amount, row.currency))
    return Landing(status="authorized", changes={"authorized": row.amount, "token": ""}, announce=(said,))


def _declined(row: Payment, answer: Answer) -> Landing:
    said = events.PaymentDeclined(**_facts(row), reason=answer.reason)
    return Landing(status="declined", changes={"reason": answer.reason, "token": ""}, announce=(said,))


def _requires_action(row: Payment, answer: Answer) -> Landing:
    return Landing(status="requires_action", changes={"action_url": answer.action_url, "token": ""})


def _captured(row: Payment, answer: Answer) -> Landing:
    return Landing(
        status="captured",
        changes={"authorized": row.amount, "captured": row.amount, "reason": "", "token": ""},
        announce=(events.PaymentCaptured(**_facts(row), amount=Money(row.amount, row.currency)),),
        booking=Booking(name="capture", amount=row.amount),
    )


def _capture_refused(row: Payment, answer: Answer) -> Landing:
    said = events.CaptureRefused(**_facts(row), reason=answer.reason)
    return Landing(status="capture_refused", changes={"reason": answer.reason}, announce=(said,))


def _voided(row: Payment, answer: Answer) -> Landing:
    return Landing(status="voided", changes={"token": ""}, announce=(events.PaymentVoided(**_facts(row)),))


def _refunded(row: Payment, answer: Answer) -> Landing:
    refunded = row.refunded + row.pending
    return Landing(
        status="refunded" if refunded == row.captured else "captured",
        changes={"refunded": refunded, "pending": 0, "refund_id": None},
        announce=(events.PaymentRefunded(**_facts(row), amount=Money(row.pending, row.currency)),),
        booking=Booking(name=str(row.refund_id), amount=-row.pending),
        settled="done",
    )


def _refund_refused(row: Payment, answer: Answer) -> Landing:
    """Staff may ask again. A cancelled order's money has to go back, so that refund is tried on and on."""
    if row.refund_id == row.id:
        return replace(_stay(row, answer), alarm="refund_refused")
    changes = {"pending": 0, "refund_id": None}
    return Landing(status="captured", changes=changes, settled="refused", refusal=answer.reason)


def _found(row: Payment, answer: Answer) -> Landing:
    """Money, or the way to it, where our books say that there is none: it goes back."""
    effect = _captured if answer.status == "captured" else _stay
    landing = effect(row, answer)
    status = "captured" if answer.status == "captured" else "voiding"
    return replace(landing, status=status, changes=landing.changes | {"cancel_wanted": True}, more=True, alarm="money_found")


Effect = Callable[[Payment, Answer], Landing]
_OUTCOMES: dict[str, Effect] = {
    "authorized": _authorized,
    "captured": _captured,
    "declined": _declined,
    "requires_action": _requires_action,
    "cancelled": _voided,
}
_GONE: dict[str, Effect] = {"captured": _captured, "cancelled": _voided}
_LATE: dict[str, Effect] = {"authorized": _found, "captured": _found, "requires_action": _found}
_TABLE: dict[str, dict[str, Effect]] = {
    "processing": _OUTCOMES,
    "unknown": _OUTCOMES,
    "requires_action": _OUTCOMES,
    "authorized": _GONE,
    "capturing": {"captured": _captured, "refused": _capture_refused, "cancelled": _capture_refused},
    "capture_refused": _GONE,
    "voiding": {"captured": _captured, "cancelled": _voided, "declined": _voided},
    "refunding": {"refunded": _refunded, "refused": _refund_refused},
    "declined": _LATE,
    "voided": _LATE,
}
