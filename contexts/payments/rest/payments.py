"""REST API of payments and refunds."""

from typing import Annotated, cast
from uuid import UUID

import msgspec
from django.http import HttpResponse
from rest_framework.request import Request

from contexts.payments.interface import NotCapturable, PaymentStatus, WrongCurrency
from contexts.payments.service import captures, refunds
from contexts.payments.service.transitions import FINAL_STATUSES
from contexts.payments.service.views import PaymentDetail, RefundView, to_payment_detail, to_refund_view
from shop.errors import NotFound
from shop.http.idempotency import Key
from shop.http.reading import RequestBody
from shop.http.rest import CUSTOMER, Currency, Staff, Text, View, endpoint, respond
from shop.http.tokens import Caller
from shop.money import MAX_AMOUNT, Money
from shop.security_events import DIRECT_REFERENCE

REFUND_ERRORS = (
    NotFound,
    refunds.NotRefundable,
    refunds.AnotherRefundRuns,
    refunds.RefundTooLarge,
    WrongCurrency,
    refunds.RefundRefused,
)
CAPTURE_ERRORS = (
    NotFound,
    NotCapturable,
    captures.CaptureRefused,
    captures.CaptureTooLarge,
    captures.PaymentIsBusy,
    WrongCurrency,
)
VOID_ERRORS = (NotFound, captures.NotVoidable)


class PartialAmount(RequestBody):
    """A part of an amount, in minor units."""

    amount: Annotated[int, msgspec.Meta(ge=1, le=MAX_AMOUNT)]
    currency: Currency


class RefundRequest(RequestBody):
    """The reason and the amount of a refund. Without an amount, all that remains is refunded."""

    reason: Text
    amount: PartialAmount | None = None


class CaptureRequest(RequestBody):
    """The amount to capture. Without it, all that is not captured yet is captured."""

    amount: PartialAmount | None = None


class PaymentsView(View):
    """The base of all payment endpoints."""

    context = "payments"


class PaymentItem(PaymentsView):
    @endpoint(access=CUSTOMER, responses={200: PaymentDetail}, errors=(NotFound,))
    def get(self, request: Request, payment_id: UUID) -> PaymentDetail:
        """Return a payment with its refunds, to its customer or to staff."""
        row, refund_rows = refunds.get_with_refunds(payment_id)
        caller = cast(Caller, request.user)  # the endpoint admits signed-in callers only
        if row.customer_id != caller.id and not caller.has_perm("payments.view"):
            raise NotFound().because("other_owner", DIRECT_REFERENCE)
        return to_payment_detail(row, refund_rows)


class PaymentRefunds(PaymentsView):
    @endpoint(
        access=Staff("payments.refund", recheck=True),
        body=RefundRequest,
        responses={201: RefundView, 202: RefundView},
        errors=REFUND_ERRORS,
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


class StaffCapture(PaymentsView):
    @endpoint(
        access=Staff("payments.capture", recheck=True),
        body=CaptureRequest,
        body_is_optional=True,
        responses={200: PaymentDetail, 202: PaymentDetail},
        errors=CAPTURE_ERRORS,
        idempotency="required",
    )
    def post(self, request: Request, payment_id: UUID, key: Key, body: CaptureRequest | None) -> HttpResponse:
        """Capture an authorized payment in full or in part, or try a refused capture again.

        After a part, the order stays on hold until the rest is captured, if the provider allows it.
        200: the money is captured. 202: the provider has not responded yet; the shop keeps asking. 409: the provider
        refuses the capture, or less is left to capture. A repeat with the same key starts no other capture.
        """
        amount = Money(body.amount.amount, body.amount.currency) if body and body.amount else None
        row = captures.capture(payment_id=payment_id, amount=amount, actor=request.user.get_username(), key=key)
        return _respond_with_payment(row.id, is_done=row.status != PaymentStatus.CAPTURING)


class StaffVoid(PaymentsView):
    @endpoint(
        access=Staff("payments.capture", recheck=True),
        responses={200: PaymentDetail, 202: PaymentDetail},
        errors=VOID_ERRORS,
        idempotency="required",
    )
    def post(self, request: Request, payment_id: UUID, key: Key) -> HttpResponse:
        """Release the authorized money of a payment. The order is cancelled then, so a part cannot be released.

        200: the money is released. 202: the provider has not responded yet; the shop keeps asking. 409: the payment is
        captured or final.
        """
        row = captures.void(payment_id=payment_id, actor=request.user.get_username(), key=key)
        return _respond_with_payment(row.id, is_done=row.status in FINAL_STATUSES)


def _respond_with_payment(payment_id: UUID, *, is_done: bool) -> HttpResponse:
    row, refund_rows = refunds.get_with_refunds(payment_id)
    return respond(to_payment_detail(row, refund_rows), 200 if is_done else 202)
