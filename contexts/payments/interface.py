"""The service interface of payments."""

from enum import StrEnum
from typing import Literal, Protocol
from uuid import UUID

from shop.calls.services import DTO, idempotent, read, service
from shop.errors import Conflict
from shop.money import Money


class PaymentStatus(StrEnum):
    """The status of a payment. `contexts.payments.service.transitions` has the table of its changes."""

    PROCESSING = "processing"
    UNKNOWN = "unknown"
    REQUIRES_ACTION = "requires_action"
    AUTHORIZED = "authorized"
    CAPTURING = "capturing"
    CAPTURED = "captured"
    CAPTURE_REFUSED = "capture_refused"
    DECLINED = "declined"
    VOIDING = "voiding"
    VOIDED = "voided"
    REFUNDING = "refunding"
    REFUNDED = "refunded"


# Texts of error messages, which complete "a payment that is …"
STATUS_WORDS: dict[str, str] = {
    PaymentStatus.PROCESSING: "being processed",
    PaymentStatus.UNKNOWN: "waiting for the response of its provider",
    PaymentStatus.REQUIRES_ACTION: "waiting for its customer",
    PaymentStatus.CAPTURING: "being captured",
    PaymentStatus.CAPTURE_REFUSED: "authorized, but was refused when it was captured,",
    PaymentStatus.VOIDING: "being voided",
    PaymentStatus.REFUNDING: "being refunded",
}


class RefundCause(StrEnum):
    """Why a refund was made, and by whom."""

    STAFF = "staff"
    CANCELLATION = "cancellation"
    PROVIDER = "provider"  # found at the provider, without a request of the shop
    OTHER_MEANS = "other_means"  # paid outside of the provider, as staff recorded


class DisputeState(StrEnum):
    """The state of the latest dispute of a payment (chargeback)."""

    NONE = "none"
    OPEN = "open"
    WON = "won"
    LOST = "lost"


class Attention(StrEnum):
    """The decision about a payment that staff have to make, as every release knows it. See `Payment.task`."""

    REFUND_REFUSED = "refund_refused"
    DISPUTED = "disputed"
    CAPTURED_IN_PART = "captured_in_part"


class PaymentMethod(DTO):
    """A payment provider, and the token that the provider's form issued to the customer's browser."""

    provider: str
    token: str


class Action(DTO):
    """A step that the customer has to take before the payment can continue."""

    type: Literal["redirect"]
    url: str


class Refund(DTO):
    """A refund that was made."""

    id: UUID
    order_id: UUID
    amount: Money
    cause: RefundCause
    is_failed: bool = False  # the customer's bank returned it later: the customer does not have the money


class Payment(DTO):
    """The payment of an order."""

    id: UUID
    order_id: UUID
    status: PaymentStatus
    amount: Money
    refunded: Money
    action: Action | None = None
    reason: str = ""  # the provider's reason for a decline or a refused capture
    version: int = 0  # raised by every event about the payment
    captured: Money | None = None
    disputed: Money | None = None  # what a dispute has taken from the shop
    dispute: DisputeState = DisputeState.NONE
    attention: Attention | None = None  # what staff have to decide about the payment
    task: str = ""  # like `attention`, with later kinds: refund_failed counts as refund_refused there
    is_undone: bool = False  # cancelled, and nothing is left to undo but what staff decide


class OrderNumber(DTO):
    """The number that people know an order by."""

    order_id: UUID
    number: str


class Declined(Conflict):
    """The payment was declined: {reason}."""

    remedy = "Let the customer choose another payment method, and place a new order with a new key."
    status = 402
    reason: str


class NotCapturable(Conflict):
    """A payment that is {present} cannot be captured."""

    words = STATUS_WORDS
    present: str


class PaymentProcessing(Conflict):
    """A payment that is {present} cannot be replaced by another one."""

    remedy = "Show the order's present payment. Try again once it waits for its customer, or its capture was refused."
    words = STATUS_WORDS
    present: str


class WrongCurrency(Conflict):
    """The amount is in {requested}, but {currency} is required."""

    currency: str
    requested: str = ""


class Payments(Protocol):
    """Authorize, capture and undo payments. The order id is the key of every method: an order has one payment."""

    @idempotent
    def authorize(
        self,
        *,
        order_id: UUID,
        amount: Money,
        method: PaymentMethod,
        customer_id: UUID | None = None,
        order_number: str = "",
    ) -> Payment:
        """Authorize the amount at the provider.

        customer_id: the customer who may read the payment; None for a guest.
        order_number: the number by which staff find the payment.
        A repeat returns the current state and never charges again. Payments itself resolves `unknown` and `processing`,
        and then publishes PaymentResolved. Raises Closed after a cancel, WrongCurrency for a new payment that is not in
        CURRENCY.
        """

    @idempotent
    def capture(self, *, order_id: UUID) -> Payment:
        """Capture the authorized amount. The result is captured, capture_refused or still capturing.

        Raises NotCapturable.
        """

    @idempotent
    def capture_orders(self, *, order_ids: tuple[UUID, ...]) -> tuple[Payment, ...]:
        """Capture the authorized payments of these orders, and return the payments of all of them, one for each order.

        The provider is called for one after the other. Once a call was slow, the rest is captured by payments itself, which
        then publishes PaymentResolved. What cannot be captured is returned as it is; orders without a payment are omitted.
        """

    @idempotent
    def pay_again(self, *, order_id: UUID, attempt_id: UUID, method: PaymentMethod) -> Payment:
        """Pay an order in another way, while its payment is open or its capture was refused.

        attempt_id: the key of the attempt; a repeat returns the present state.
        The new attempt starts once the last one is definitely over at its provider. If that one was captured meanwhile, the
        order is paid by it. Payments itself resolves the rest, and then publishes PaymentResolved. Raises PaymentProcessing.
        """

    @idempotent
    def cancel(self, *, order_id: UUID) -> Payment | None:
        """Void the payment or refund it in full. Without a payment, leave a tombstone and return None.

        Payments itself resolves `voiding` and `refunding`; repeat the call to learn the outcome. A refund that the
        provider refuses is a task for staff: then the payment stays `captured`, but is_undone.
        """

    @idempotent
    def sync(self, *, order_id: UUID) -> Payment | None:
        """Ask the provider for the state of the payment now, and return it. None without a payment.

        Starts no authorization. A repeat asks again. Raises Unavailable if the provider cannot be asked, or if another
        worker is asking it.
        """

    @read
    def without_number(self, *, after: UUID | None = None) -> tuple[UUID, ...]:
        """Return the orders, by id, whose payments do not have the order's number yet: up to 200 after this order id."""

    @idempotent
    def set_numbers(self, *, numbers: tuple[OrderNumber, ...]) -> int:
        """Store the numbers of orders with their payments, where they are missing. Returns how many were."""

    @read
    def of_orders(self, *, order_ids: tuple[UUID, ...]) -> tuple[Payment, ...]:
        """Return the payments of these orders. Orders without a payment are omitted."""

    @read
    def refunds_of_orders(self, *, order_ids: tuple[UUID, ...]) -> tuple[Refund, ...]:
        """Return the refunds that were made of the payments of these orders, the oldest first; failed ones, too."""


payments: Payments = service("payments", Payments)
