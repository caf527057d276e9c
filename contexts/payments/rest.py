"""REST API of payments."""

from typing import Annotated, cast
from uuid import UUID

import msgspec
from django.http import HttpResponse
from django.urls import path
from rest_framework.request import Request

from contexts.payments import providers
from contexts.payments.interface import PaymentStatus
from contexts.payments.providers import sandbox
from contexts.payments.service import operations, refunds
from contexts.payments.service.views import PaymentDetail, RefundView, to_payment_detail, to_refund_view
from shop.errors import NotFound
from shop.http.idempotency import Key
from shop.http.reading import RequestBody
from shop.http.rest import ANYONE, CUSTOMER, Staff, Text, View, endpoint, respond
from shop.http.tokens import Caller
from shop.money import MAX_AMOUNT, Money


class PartialAmount(RequestBody):
    """A part of the captured amount, in minor units."""

    amount: Annotated[int, msgspec.Meta(ge=1, le=MAX_AMOUNT)]
    currency: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}$(?!\n)")]


class RefundRequest(RequestBody):
    """The reason and the amount of a refund. Without an amount, all that remains is refunded."""

    reason: Text
    amount: PartialAmount | None = None


class Decision(msgspec.Struct):
    """The status of a payment after the customer's decision."""

    reference: str
    status: PaymentStatus


class PaymentsView(View):
    context = "payments"


class PaymentItem(PaymentsView):
    @endpoint(access=CUSTOMER, responses={200: PaymentDetail})
    def get(self, request: Request, payment_id: UUID) -> PaymentDetail:
        """Return a payment with its refunds, to its customer or to staff."""
        row, refund_rows = refunds.get_with_refunds(payment_id)
        caller = cast(Caller, request.user)  # the endpoint admits signed-in callers only
        if row.customer_id != caller.id and not caller.has_perm("payments.view"):
            raise NotFound
        return to_payment_detail(row, refund_rows)


class PaymentRefunds(PaymentsView):
    @endpoint(
        access=Staff("payments.refund"),
        body=RefundRequest,
        responses={201: RefundView, 202: RefundView},
        idempotency="required",
    )
    def post(self, request: Request, payment_id: UUID, body: RefundRequest, key: Key) -> HttpResponse:
        """Refund a captured payment, in full or in part.

        201: the refund is done. 202: the provider has not responded yet; the shop keeps asking.
        """
        amount = Money(body.amount.amount, body.amount.currency) if body.amount else None
        refund = refunds.refund(
            payment_id=payment_id, amount=amount, reason=body.reason, actor=request.user.get_username(), key=key
        )
        view = to_refund_view(refund, refund.payment.currency)
        return respond(view, 201 if view.status == "done" else 202)


class Approve(PaymentsView):
    @endpoint(access=ANYONE, responses={200: Decision}, idempotency="none")
    def get(self, request: Request, reference: str) -> Decision:
        """Approve a payment on the sandbox's page.

        The page stands for the provider's own (3-D Secure). It exists only while a payment waits for its customer.
        """
        _get_sandbox().approve(reference=reference)
        return _report_decision(reference)

    @endpoint(access=ANYONE, responses={200: Decision}, idempotency="none")
    def post(self, request: Request, reference: str) -> Decision:
        """Approve a payment at the sandbox."""
        _get_sandbox().approve(reference=reference)
        return _report_decision(reference)


class Decline(PaymentsView):
    @endpoint(access=ANYONE, responses={200: Decision}, idempotency="none")
    def get(self, request: Request, reference: str) -> Decision:
        """Decline a payment on the sandbox's page."""
        _get_sandbox().decline(reference=reference)
        return _report_decision(reference)

    @endpoint(access=ANYONE, responses={200: Decision}, idempotency="none")
    def post(self, request: Request, reference: str) -> Decision:
        """Decline a payment at the sandbox."""
        _get_sandbox().decline(reference=reference)
        return _report_decision(reference)


def _get_sandbox() -> sandbox.Sandbox:
    if providers.find("sandbox") is not sandbox.provider:
        raise NotFound
    return sandbox.provider


def _report_decision(reference: str) -> Decision:
    return Decision(reference, operations.sync_by_reference(reference).status)


urlpatterns = [
    path("payments/<uuid:payment_id>", PaymentItem.as_view()),
    path("payments/<uuid:payment_id>/refunds", PaymentRefunds.as_view()),
    path("payments/sandbox/<slug:reference>/approve", Approve.as_view()),
    path("payments/sandbox/<slug:reference>/decline", Decline.as_view()),
]
