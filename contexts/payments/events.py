"""What payments announces."""

from uuid import UUID

from shop.events import Event
from shop.money import Money


class PaymentEvent(Event, stream="payments.payment:{order_id}"):
    """Something happened to the payment of an order."""

    order_id: UUID
    payment_id: UUID


class PaymentAuthorized(PaymentEvent, name="payments.payment_authorized", version=1):
    """The money is set aside at the provider."""

    amount: Money


class PaymentDeclined(PaymentEvent, name="payments.payment_declined", version=1):
    """The provider said no, for good."""

    reason: str


class PaymentCaptured(PaymentEvent, name="payments.payment_captured", version=1):
    """The money is ours."""

    amount: Money


class CaptureRefused(PaymentEvent, name="payments.capture_refused", version=1):
    """The provider will not hand over what it had authorized."""

    reason: str


class PaymentVoided(PaymentEvent, name="payments.payment_voided", version=1):
    """The authorization was given up; nothing was taken."""


class PaymentRefunded(PaymentEvent, name="payments.payment_refunded", version=1):
    """Money went back to the customer: `amount` this time."""

    amount: Money


class PaymentResolved(PaymentEvent, name="payments.payment_resolved", version=1):
    """An outcome that was unknown, or waited for the customer, is known now: whoever waits may ask again."""

    status: str
