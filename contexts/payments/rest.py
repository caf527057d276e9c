"""HTTP of payments."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from django.http import HttpResponse
from django.urls import path
from rest_framework.request import Request

from contexts.payments import providers
from contexts.payments.interface import Payment, Status
from contexts.payments.providers import sandbox
from contexts.payments.service import operations, refunds
from shop.errors import NotFound
from shop.idempotency import Key
from shop.money import MAX_AMOUNT, Money
from shop.rest import ANYONE, CUSTOMER, Staff, Text, View, endpoint, respond


class RefundView(msgspec.Struct, kw_only=True):
    """Money on its way back to the customer."""

    id: UUID
    payment_id: UUID
    amount: Money
    reason: str
    status: str
    created_at: datetime


class PaymentDetail(msgspec.Struct, kw_only=True):
    """A payment as its customer and staff see it."""

    id: UUID
    order_id: UUID
    status: Status
    provider: str
    amount: Money
    authorized: Money
    captured: Money
    refunded: Money
    reason: str
    created_at: datetime
    refunds: list[RefundView]


class PartialAmount(msgspec.Struct):
    """A part of what was captured, in minor units."""

    amount: Annotated[int, msgspec.Meta(ge=1, le=MAX_AMOUNT)]
    currency: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}$(?!\n)")]


class RefundRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Why, and how much; without an amount all that is left."""

    reason: Text
    amount: PartialAmount | None = None


class Decision(msgspec.Struct):
    """What the customer's decision led to."""

    reference: str
    status: Status


class PaymentsView(View):
    context = "payments"


class PaymentItem(PaymentsView):
    @endpoint(who=CUSTOMER, answers={200: PaymentDetail})
    def get(self, request: Request, payment_id: UUID) -> PaymentDetail:
        """A payment with its refunds, for its customer and for staff."""
        row, given_back = refunds.details(payment_id)
        if row.customer_id != request.user.id and not request.user.has_perm("payments.view"):
            raise NotFound
        return _to_detail(row, given_back)


class PaymentRefunds(PaymentsView):
    @endpoint(
        who=Staff("payments.refund"), body=RefundRequest, answers={201: RefundView, 202: RefundView}, key="required"
    )
    def post(self, request: Request, payment_id: UUID, body: RefundRequest, key: Key) -> HttpResponse:
        """Refund a captured payment, in full or in part.

        201: it is done. 202: the provider has not answered yet; the shop goes on asking.
        """
        amount = Money(body.amount.amount, body.amount.currency) if body.amount else None
        refund = refunds.refund(
            payment_id=payment_id, amount=amount, reason=body.reason, actor=request.user.get_username(), key=key
        )
        return respond(_to_refund(refund, refund.payment.currency), 201 if refund.status == "done" else 202)


class Approve(PaymentsView):
    @endpoint(who=ANYONE, answers={200: Decision}, key="none")
    def get(self, request: Request, reference: str) -> Decision:
        """The sandbox's page for a customer who says yes.

        It stands for the provider's own page (3-D Secure), and is only there while a payment waits for its customer.
        """
        _sandbox().approve(reference=reference)
        return _decided(reference)

    @endpoint(who=ANYONE, answers={200: Decision}, key="none")
    def post(self, request: Request, reference: str) -> Decision:
        """The sandbox's customer says yes."""
        _sandbox().approve(reference=reference)
        return _decided(reference)


class Decline(PaymentsView):
    @endpoint(who=ANYONE, answers={200: Decision}, key="none")
    def get(self, request: Request, reference: str) -> Decision:
        """The sandbox's page for a customer who says no."""
        _sandbox().decline(reference=reference)
        return _decided(reference)

    @endpoint(who=ANYONE, answers={200: Decision}, key="none")
    def post(self, request: Request, reference: str) -> Decision:
        """The sandbox's customer says no."""
        _sandbox().decline(reference=reference)
        return _decided(reference)


def _sandbox() -> sandbox.Sandbox:
    if providers.find("sandbox") is not sandbox.provider:
        raise NotFound
    return sandbox.provider


def _decided(reference: str) -> Decision:
    payment: Payment = operations.heard_of(reference)
    return Decision(reference, payment.status)


def _to_refund(refund: Any, currency: str) -> RefundView:
    return RefundView(
        id=refund.id,
        payment_id=refund.payment_id,
        amount=Money(refund.amount, currency),
        reason=refund.reason,
        status=refund.status,
        created_at=refund.at,
    )


def _to_detail(row: Any, given_back: list) -> PaymentDetail:
    return PaymentDetail(
        id=row.id,
        order_id=row.order_id,
        status=row.status,
        provider=row.provider,
        amount=Money(row.amount, row.currency),
        authorized=Money(row.authorized, row.currency),
        captured=Money(row.captured, row.currency),
        refunded=Money(row.refunded, row.currency),
        reason=row.reason,
        created_at=row.created_at,
        refunds=[_to_refund(refund, row.currency) for refund in given_back],
    )


urlpatterns = [
    path("payments/<uuid:payment_id>", PaymentItem.as_view()),
    path("payments/<uuid:payment_id>/refunds", PaymentRefunds.as_view()),
    path("payments/sandbox/<slug:reference>/approve", Approve.as_view()),
    path("payments/sandbox/<slug:reference>/decline", Decline.as_view()),
]
