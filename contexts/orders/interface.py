"""The interface of orders for other contexts."""

from enum import StrEnum
from typing import Protocol
from uuid import UUID

from shop.calls.services import DTO, read, service
from shop.money import Money


class OrderStatus(StrEnum):
    """The state of an order as its customer sees it."""

    PENDING = "pending"
    CONFIRMED = "confirmed"
    ON_HOLD = "on_hold"
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    CANCELLED = "cancelled"
    REJECTED = "rejected"


# Texts of error messages, which complete "this order is …"
STATUS_WORDS: dict[str, str] = {OrderStatus.ON_HOLD: "on hold"}


class OrderLine(DTO):
    """One line of an order, at the price that was frozen with it."""

    sku: str
    name: str
    quantity: int
    unit_price: Money
    total: Money


class OrderRefund(DTO):
    """A refund of an order."""

    id: UUID
    amount: Money


class OrderSummary(DTO):
    """An order as its customer sees it."""

    id: UUID
    number: str
    status: OrderStatus
    email: str
    user_id: UUID | None
    lines: tuple[OrderLine, ...]
    total: Money
    link: str = ""  # for an e-mail to the customer: it contains the token that shows the order
    refunds: tuple[OrderRefund, ...] = ()


class Orders(Protocol):
    """Orders and their state."""

    @read
    def summaries(self, *, order_ids: tuple[UUID, ...]) -> tuple[OrderSummary, ...]:
        """Return summaries of these orders; unknown ids are omitted."""

    @read
    def search(self, *, term: str) -> tuple[UUID, ...]:
        """Return the ids of the latest 100 orders whose number, e-mail address, names or SKUs contain every word."""


orders: Orders = service("orders", Orders)
