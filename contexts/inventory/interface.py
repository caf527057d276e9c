"""Service interface of inventory for other contexts."""

from datetime import timedelta
from enum import StrEnum
from typing import Literal, Protocol
from uuid import UUID

from shop.calls.services import DTO, idempotent, read, service
from shop.errors import Conflict, Unprocessable
from shop.money import Money


class ReservationStatus(StrEnum):
    """States of a reservation: on the wire, in the database and in the admin."""

    HELD = "held"
    REFUSED = "refused"
    RELEASED = "released"
    COMMITTED = "committed"
    RESTOCKED = "restocked"


class Line(DTO):
    """A SKU and a quantity."""

    sku: str
    quantity: int


class Offer(DTO):
    """Name, price and availability of a SKU at the time of the call."""

    sku: str
    name: str
    price: Money
    available: int  # 0 if the SKU is not for sale
    for_sale: bool = True


class Reservation(DTO):
    """The reservation of one order."""

    order_id: UUID
    # The values of ReservationStatus: a DTO has plain types only.
    status: Literal["held", "refused", "released", "committed", "restocked"]
    lines: tuple[Line, ...]


class UnknownSku(Unprocessable):
    """{sku} does not exist or is not for sale."""

    remedy = "Remove the SKU. Read the product for its present variants."

    sku: str
    skus: tuple[str, ...] = ()  # all SKUs of the request that are not for sale; `sku` is the first of them

    def __str__(self) -> str:
        return f"Not for sale: {', '.join(self.skus)}." if len(self.skus) > 1 else super().__str__()


class OutOfStock(Conflict):
    """Only {available} of {sku} left."""

    remedy = "Lower the quantity to `available`, or remove the SKU, and send a new request with a new key."

    sku: str
    available: int


class Inventory(Protocol):
    """Catalogue and stock."""

    @read
    def quote(self, *, skus: tuple[str, ...]) -> tuple[Offer, ...]:
        """Return the current offers for these SKUs, in the given order. Raises UnknownSku, which names all not for sale."""

    @read
    def offers(self, *, skus: tuple[str, ...]) -> tuple[Offer, ...]:
        """Return the offers for these SKUs, also of those that are not for sale; unknown SKUs are omitted."""

    @idempotent
    def reserve(self, *, order_id: UUID, lines: tuple[Line, ...], hold: timedelta) -> Reservation:
        """Reserve stock for an order, either all lines or none. Lines with the same SKU are added up.

        Reserving the same order again returns the same reservation, or raises the same OutOfStock. When `hold` has
        passed, ReservationDue is published; the stock stays reserved. Raises OutOfStock, UnknownSku, and Closed after a
        release.
        """

    @idempotent
    def release(self, *, order_id: UUID) -> Reservation:
        """Release an order's reservation: held units become available again, committed units are restocked.

        Releasing an unknown order records a tombstone, so that a reserve call that arrives later is refused.
        """


inventory: Inventory = service("inventory", Inventory)
