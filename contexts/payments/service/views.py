"""Payments and refunds as the REST API shows them."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

import msgspec

from contexts.payments.interface import PaymentStatus
from contexts.payments.models import Payment, Refund, RefundStatus
from shop.money import Money


class RefundView(msgspec.Struct, kw_only=True):
    """A refund of a payment."""

    id: UUID
    payment_id: UUID
    amount: Money
    reason: str
    status: RefundStatus
    created_at: datetime


class PaymentDetail(msgspec.Struct, kw_only=True):
    """A payment with its refunds."""

    id: UUID
    order_id: UUID
    status: PaymentStatus
    provider: str
    amount: Money
    authorized: Money
    captured: Money
    refunded: Money
    reason: str
    created_at: datetime
    refunds: list[RefundView]


def to_refund_view(refund: Refund, currency: str) -> RefundView:
    """Convert a refund's row; `currency` is that of its payment."""
    return RefundView(
        id=refund.id,
        payment_id=refund.payment_id,
        amount=Money(refund.amount, currency),
        reason=refund.reason,
        status=RefundStatus(refund.status),
        created_at=refund.at,
    )


def to_payment_detail(row: Payment, refunds: Iterable[Refund]) -> PaymentDetail:
    """Convert a payment's row and those of its refunds."""
    return PaymentDetail(
        id=row.id,
        order_id=row.order_id,
        status=PaymentStatus(row.status),
        provider=row.provider,
        amount=Money(row.amount, row.currency),
        authorized=Money(row.authorized, row.currency),
        captured=Money(row.captured, row.currency),
        refunded=Money(row.refunded, row.currency),
        reason=row.reason,
        created_at=row.created_at,
        refunds=[to_refund_view(refund, row.currency) for refund in refunds],
    )
