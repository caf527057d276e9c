"""The events of payments."""

from uuid import UUID

from shop.messaging.events import Event
from shop.money import Money


class PaymentEvent(Event, stream="payments.payment:{order_id}"):
    """The payment of an order changed."""

    order_id: UUID
    payment_id: UUID


class PaymentAuthorized(PaymentEvent, name="payments.payment_authorized", version=1):
    """The provider authorized the amount."""

    amount: Money


class PaymentDeclined(PaymentEvent, name="payments.payment_declined", version=1):
    """The provider definitely declined the payment."""

    reason: str


class PaymentCaptured(PaymentEvent, name="payments.payment_captured", version=1):
    """The amount was captured."""

    amount: Money


class CaptureRefused(PaymentEvent, name="payments.capture_refused", version=1):
    """The provider definitely refused to capture an authorized payment."""

    reason: str


class PaymentVoided(PaymentEvent, name="payments.payment_voided", version=1):
    """The authorization was released; no money was taken."""


class PaymentRefunded(PaymentEvent, name="payments.payment_refunded", version=1):
    """Money was refunded to the customer: `amount` is the amount of this refund."""

    amount: Money
    refund_id: UUID | None = None


class PaymentRefundFailed(PaymentEvent, name="payments.payment_refund_failed", version=1):
    """The customer's bank returned a refund that was made before: `amount` is back at the shop."""

    amount: Money
    refund_id: UUID | None = None
    reason: str = ""


class PaymentDisputed(PaymentEvent, name="payments.payment_disputed", version=1):
    """A dispute has taken money from the shop, or was decided: `disputed` is what it has taken now."""

    disputed: Money
    dispute: str


class PaymentNeedsAttention(PaymentEvent, name="payments.payment_needs_attention", version=1):
    """Staff have to decide about the payment: it cannot be resolved automatically."""

    reason: str


class PaymentTaskClosed(PaymentEvent, name="payments.payment_task_closed", version=1):
    """The payment does not wait for staff any more: they have decided, or the provider has resolved it."""


class PaymentResolved(PaymentEvent, name="payments.payment_resolved", version=1):
    """A payment that was unknown or waited for its customer has an outcome; read the payment again."""

    status: str
