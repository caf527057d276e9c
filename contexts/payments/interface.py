"""What other contexts may ask of payments."""

from typing import Literal, Protocol
from uuid import UUID

from shop.errors import Conflict
from shop.money import Money
from shop.services import DTO, idempotent, read, service

Status = Literal[
    "processing",
    "unknown",
    "requires_action",
    "authorized",
    "capturing",
    "captured",
    "capture_refused",
    "declined",
    "voiding",
    "voided",
    "refunding",
    "refunded",
]


class PaymentMethod(DTO):
    """What the customer pays with: a provider, and the token that the provider's form gave the customer's browser."""

    provider: str
    token: str


class Action(DTO):
    """What the customer has to do before the payment goes on."""

    type: Literal["redirect"]
    url: str


class Payment(DTO):
    """How far the payment of an order is."""

    id: UUID
    order_id: UUID
    status: Status
    amount: Money
    refunded: Money
    action: Action | None = None
    reason: str = ""  # why it was declined or refused, in the provider's words


class Declined(Conflict):
    """The payment was declined: {reason}."""

    status = 402
    reason: str


class NotCapturable(Conflict):
    """A payment that is {present} cannot be captured."""

    present: str


class Payments(Protocol):
    """Money for orders. Every method's key is the order: an order has one payment."""

    @idempotent
    def authorize(
        self, *, order_id: UUID, amount: Money, method: PaymentMethod, customer_id: UUID | None = None
    ) -> Payment:
        """Have the amount set aside at the provider, for a customer, who may then look at the payment, or a guest.

        A repeat only reports the present state; it never charges again.

        `unknown` and `processing` are resolved by payments itself, which announces PaymentResolved. Raises Closed
        after a cancel.
        """

    @idempotent
    def capture(self, *, order_id: UUID) -> Payment:
        """Take the authorized money: captured, capture_refused, or still capturing. Raises NotCapturable."""

    @idempotent
    def cancel(self, *, order_id: UUID) -> Payment | None:
        """Undo whatever there is: void, refund in full, or a tombstone (None) where no payment was ever seen.

        voiding and refunding are resolved by payments itself; ask again.
        """

    @read
    def of_orders(self, *, order_ids: tuple[UUID, ...]) -> tuple[Payment, ...]:
        """The payments of these orders; an order without one is not among them."""


payments: Payments = service("payments", Payments)
