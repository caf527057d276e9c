"""Build the representations of an order: the API's view, and the outcome of placing it."""

from datetime import datetime
from typing import Any, Literal, cast
from uuid import UUID

import msgspec

from contexts.orders import models
from contexts.orders.interface import OrderLine, OrderStatus
from contexts.orders.models import Order
from contexts.orders.service.cancellation import can_customer_cancel
from contexts.orders.service.carts import Totals
from contexts.orders.service.payment_amounts import PaymentAmounts, compute_payment_amounts, get_summary
from shop.addresses.address import Address
from shop.decoders import warm_up_decoders
from shop.errors import Conflict, DomainError, get_error_class
from shop.http import idempotency
from shop.http.idempotency import Outcome
from shop.keyed_hashes import compute_keyed_hash, is_keyed_hash
from shop.money import Money

STATUS_OVERRIDES = {"inventory.unknown_sku": Conflict.status}  # the SKU was for sale when the order was placed


class Action(msgspec.Struct):
    """The action that the customer has to take before the payment can continue."""

    type: Literal["redirect"]
    url: str


class PaymentView(msgspec.Struct, kw_only=True):
    """The state of an order's payment."""

    id: UUID | None
    status: str
    action: Action | None = None


class OrderTotals(Totals, kw_only=True):
    """The total, its parts, and what was paid and refunded of it."""

    paid: Money
    refunded: Money
    due: Money


class RefundEntry(msgspec.Struct, kw_only=True):
    """A refund of an order. `failed`: the customer's bank returned it, and the shop takes care of it."""

    id: UUID
    amount: Money
    at: datetime
    status: Literal["done", "failed"] = "done"


PaymentStatus = Literal[
    "pending", "processing", "authorized", "partially_paid", "paid", "overpaid", "partially_refunded", "refunded",
    "voided", "failed",
]  # fmt: skip


class Shipment(msgspec.Struct, kw_only=True):
    """A parcel."""

    id: UUID


class OrderView(msgspec.Struct, kw_only=True):
    """An order as its customer sees it. Only a guest's order has a `token`: sent as X-Order-Token, it shows the order."""

    id: UUID
    number: str
    status: OrderStatus
    created_at: datetime | None
    email: str
    lines: list[OrderLine]
    totals: OrderTotals
    payment: PaymentView
    payment_status: PaymentStatus
    dispute: Literal["none", "open", "won", "lost"]
    refunds: list[RefundEntry]
    shipments: list[Shipment]
    shipping_address: Address
    cancel_requested: bool
    cancellable: bool  # by the customer, now
    token: str | None = None


class TimelineEntry(msgspec.Struct):
    """Something that happened to an order."""

    at: datetime
    kind: str
    text: str
    context: str


warm_up_decoders(Address, list[TimelineEntry])


class OrderWasCancelled(Conflict):
    """The order was cancelled."""


def to_view(order: Order) -> OrderView:
    """Build the view of an order for its customer."""
    action, amounts = order.payment_action, compute_payment_amounts(order)
    return OrderView(
        id=order.id,
        number=order.number,
        status=OrderStatus(order.status),
        created_at=order.created_at,
        email=order.email,
        lines=[to_line(line, order.currency) for line in order.lines.all()],
        totals=_to_totals(order, amounts),
        payment=PaymentView(
            id=order.payment_id, status=amounts.status or "none", action=Action(**action) if action else None
        ),
        payment_status=cast(PaymentStatus, amounts.payment_status),
        dispute=cast(Literal["none", "open", "won", "lost"], amounts.dispute),
        refunds=[_to_refund(refund, order.currency) for refund in _get_refunds(order)],
        shipments=[],
        shipping_address=msgspec.convert(order.shipping_address, Address),
        cancel_requested=order.cancel_requested_at is not None,
        cancellable=can_customer_cancel(order),
        token=None if order.user_id else make_guest_token(order.id),
    )


def to_timeline(order: Order) -> list[TimelineEntry]:
    """Build the timeline of an order, with what happened to its payment later, the oldest entry first."""
    summary = get_summary(order)
    entries = msgspec.convert([*order.timeline, *(summary.timeline if summary else ())], list[TimelineEntry])
    return sorted(entries, key=lambda entry: entry.at)


def to_line(line: models.OrderLine, currency: str) -> OrderLine:
    """Build the view of an order's line. currency: of the order, for a line of an older release."""
    return OrderLine(
        sku=line.sku,
        name=line.name,
        quantity=line.quantity,
        unit_price=Money(line.unit_price, line.currency or currency),
        total=Money(line.total, line.currency or currency),
    )


def _get_refunds(order: Order) -> list[dict[str, Any]]:  # as `order_payments` stores them
    summary = get_summary(order)
    return summary.refunds if summary else []


def _to_refund(refund: dict[str, Any], currency: str) -> RefundEntry:
    return RefundEntry(
        id=UUID(refund["id"]),
        amount=Money(refund["amount"], currency),
        at=datetime.fromisoformat(refund["at"]),
        status="failed" if refund.get("failed") else "done",
    )


def _to_totals(order: Order, amounts: PaymentAmounts) -> OrderTotals:
    return OrderTotals(
        items=Money(order.items_total, order.currency),
        discount=Money(order.discount_total, order.currency),
        shipping=Money(order.shipping_total, order.currency),
        tax=Money(order.tax_total, order.currency),
        total=Money(order.total, order.currency),
        paid=Money(amounts.paid, order.currency),
        refunded=Money(amounts.refunded, order.currency),
        due=Money(amounts.due, order.currency),
    )


def build_refusal(order: Order) -> DomainError | None:
    """Build the error that rejected an order. None unless it is rejected."""
    return get_error_class(order.refusal["code"])(**order.refusal["facts"]) if order.refusal else None


def build_outcome(order: Order) -> Outcome | None:
    """Build the final outcome of placing an order: the order, or the error that ended it. None while it is pending.

    It has no token, because it is stored: `add_guest_token` adds it to the response.
    """
    if order.status == OrderStatus.PENDING:
        return None
    if refusal := build_refusal(order):
        return idempotency.encode_refusal(refusal, STATUS_OVERRIDES.get(refusal.code), order_id=str(order.id))
    if order.status == OrderStatus.CANCELLED:
        return idempotency.encode_refusal(OrderWasCancelled(), order_id=str(order.id))
    return idempotency.encode_result(msgspec.structs.replace(to_view(order), token=None))


def add_guest_token(outcome: Outcome, order_id: UUID) -> Outcome:
    """Return the outcome of a guest's request with the token of the order, which is derived and not stored with the key."""
    if outcome.status != 201:
        return outcome
    members = msgspec.json.decode(outcome.body, type=dict[str, msgspec.Raw])
    body = msgspec.json.encode({**members, "token": make_guest_token(order_id)})
    return Outcome(outcome.status, body)


def make_guest_token(order_id: UUID) -> str:
    """Derive the token that shows a guest's order from its id and the shop's secret; it is stored nowhere."""
    return compute_keyed_hash(_name_guest_token(order_id))


def is_guest_token(token: str, order_id: UUID) -> bool:
    """Return whether a token shows this order. One that was derived from a key in SECRET_KEY_FALLBACKS does, too."""
    return is_keyed_hash(token, _name_guest_token(order_id))


def _name_guest_token(order_id: UUID) -> bytes:
    return f"order {order_id}".encode()
