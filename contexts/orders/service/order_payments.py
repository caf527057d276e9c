"""Record in an order what happens to its payment after the checkout: refunds, disputes and tasks for staff.

An event brings no data: the payment is read again. Nothing here needs the lease of the order, because the row that is
written is not the order's own.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple
from uuid import UUID

from django.forms import model_to_dict

from contexts.orders.events import OrderRefunded
from contexts.orders.models import Order, OrderPayment
from contexts.payments.interface import Attention, DisputeState, Payment, Refund, RefundCause, payments
from shop import clock
from shop.db.database import execute, transaction
from shop.messaging.outbox import publish

BATCH_SIZE = 200  # orders per call to payments

_INSERT_SQL = """
INSERT INTO orders_orderpayment (order_id, version, status, captured, refunded, disputed, dispute, attention, refunds,
                                 timeline, sequence)
SELECT id, 0, '', 0, 0, 0, 'none', '', '[]', '[]', 0 FROM orders_order WHERE id = %s ON CONFLICT DO NOTHING"""

_DISPUTE_TEXTS = {
    DisputeState.OPEN: "The payment was disputed at the bank.",
    DisputeState.WON: "The bank decided the dispute for the shop.",
    DisputeState.LOST: "The bank decided the dispute for the customer.",
}


def refresh(order_id: UUID) -> None:
    """Read the payment of an order, and record what has changed. Does nothing for an unknown order."""
    _refresh_batch((order_id,))


class Progress(NamedTuple):
    """A batch of orders: the last id, how many orders there were, and how many of them were updated."""

    last_id: UUID
    read: int
    updated: int


def refresh_all(after: UUID | None = None) -> Iterator[Progress]:
    """Read the payments of all orders in batches, and report each."""
    while True:
        orders = Order.objects.filter(payment_id__isnull=False).order_by("id")
        order_ids = tuple((orders.filter(id__gt=after) if after else orders).values_list("id", flat=True)[:BATCH_SIZE])
        if not order_ids:
            return
        yield Progress(order_ids[-1], len(order_ids), _refresh_batch(order_ids))
        after = order_ids[-1]


def _refresh_batch(order_ids: tuple[UUID, ...]) -> int:
    """Record the payments with refunds, disputes or tasks, and return how many of them have changed."""
    found = payments.of_orders(order_ids=order_ids)
    refunds: dict[UUID, list[Refund]] = defaultdict(list)
    for refund in payments.refunds_of_orders(
        order_ids=order_ids
    ):  # after the payments, so that none of theirs is missed
        refunds[refund.order_id].append(refund)
    news = [payment for payment in found if refunds[payment.order_id] or _has_news(payment)]
    return sum(_record(payment, refunds[payment.order_id]) for payment in news)


def _has_news(payment: Payment) -> bool:
    was_recorded = OrderPayment.objects.filter(pk=payment.order_id).exists()
    return was_recorded or payment.attention is not None or payment.dispute != DisputeState.NONE


def _record(payment: Payment, made: list[Refund]) -> bool:
    """Record a payment, and return whether it has changed since it was recorded last."""
    with transaction("orders"):
        execute("orders", _INSERT_SQL, [payment.order_id])
        row = OrderPayment.objects.select_for_update().filter(pk=payment.order_id).first()
        if row is None or payment.version < row.version:
            return False
        before = model_to_dict(row)
        order = Order.objects.only("number", "user_id").get(pk=payment.order_id)
        refunds = _add_refunds(row, made)
        _mark_failed_refunds(row, made)
        _add_entries(row, payment)
        _copy_state(row, payment)
        events = [_build_event(order, refund) for refund in refunds if refund.cause != RefundCause.CANCELLATION]
        row.sequence += len(events)
        if model_to_dict(row) == before:
            return False
        row.save()
        publish(*events, row=row)
        return True


def _build_event(order: Order, refund: Refund) -> OrderRefunded:
    return OrderRefunded(
        order_id=order.id, number=order.number, user_id=order.user_id, refund_id=refund.id, amount=refund.amount
    )


def _add_refunds(row: OrderPayment, made: list[Refund]) -> list[Refund]:
    """Add the refunds that are new to the row, and return them."""
    known = {refund["id"] for refund in row.refunds}
    new = [refund for refund in made if str(refund.id) not in known]
    for refund in new:
        at = clock.now().isoformat()
        facts = {"id": str(refund.id), "amount": refund.amount.amount, "cause": refund.cause.value, "at": at}
        row.refunds = [*row.refunds, facts]
        _append(row, "refunded", f"{refund.amount} was refunded.")
    return new


def _mark_failed_refunds(row: OrderPayment, made: list[Refund]) -> None:
    """Mark the refunds that the customer's bank has returned, each once."""
    failed = {str(refund.id): refund for refund in made if refund.is_failed}
    for facts in row.refunds:
        if facts["id"] in failed and not facts.get("failed"):
            _append(row, "refund_failed", f"The refund of {failed[facts['id']].amount} was returned by the bank.")
    row.refunds = [facts | {"failed": True} if facts["id"] in failed else facts for facts in row.refunds]


def _add_entries(row: OrderPayment, payment: Payment) -> None:
    if payment.dispute != row.dispute and payment.dispute in _DISPUTE_TEXTS:
        _append(row, f"dispute_{payment.dispute}", _DISPUTE_TEXTS[payment.dispute])
    is_refused = _get_task(payment) == Attention.REFUND_REFUSED
    if is_refused and not any(entry["kind"] == "refund_delayed" for entry in row.timeline):
        _append(row, "refund_delayed", "The refund could not be made yet. The shop takes care of it.")


def _append(row: OrderPayment, kind: str, text: str) -> None:
    entry = {"at": clock.now().isoformat(), "kind": kind, "text": text, "context": "payments"}
    row.timeline = [*row.timeline, entry]


def _copy_state(row: OrderPayment, payment: Payment) -> None:
    row.version, row.status = payment.version, payment.status.value
    row.captured = (payment.captured or payment.amount).amount
    row.refunded = payment.refunded.amount
    row.disputed = payment.disputed.amount if payment.disputed else 0
    row.dispute = payment.dispute.value
    row.attention = _get_task(payment)


def _get_task(payment: Payment) -> str:
    """Return what staff have to decide. A process of an older release only reports `attention`."""
    return payment.task or (payment.attention.value if payment.attention else "")
