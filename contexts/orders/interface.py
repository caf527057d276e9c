"""What other contexts may ask of orders."""

from typing import Literal, Protocol
from uuid import UUID

from shop.money import Money
from shop.services import DTO, read, service

Status = Literal["pending", "confirmed", "on_hold", "shipped", "delivered", "cancelled", "rejected"]


class OrderLine(DTO):
    """One line of an order, at the price that was frozen with it."""

    sku: str
    name: str
    quantity: int
    unit_price: Money
    total: Money


class OrderSummary(DTO):
    """An order as its customer knows it."""

    id: UUID
    number: str
    status: Status
    email: str
    user_id: UUID | None
    lines: tuple[OrderLine, ...]
    total: Money


class Orders(Protocol):
    """Orders and their state."""

    @read
    def summaries(self, *, order_ids: tuple[UUID, ...]) -> tuple[OrderSummary, ...]:
        """These orders; what does not exist is not among them."""


orders: Orders = service("orders", Orders)
