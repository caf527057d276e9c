"""What other contexts may ask of inventory."""

from datetime import timedelta
from typing import Literal, Protocol
from uuid import UUID

from shop.errors import Conflict, Unprocessable
from shop.money import Money
from shop.services import DTO, idempotent, read, service


class Line(DTO):
    """So many units of one SKU."""

    sku: str
    quantity: int


class Offer(DTO):
    """What a SKU is, costs and how many units of it can be bought at this moment."""

    sku: str
    name: str
    price: Money
    available: int


class Reservation(DTO):
    """Stock set aside for one order."""

    order_id: UUID
    status: Literal["held", "refused", "released", "committed", "restocked"]
    lines: tuple[Line, ...]


class UnknownSku(Unprocessable):
    """{sku} is not for sale here."""

    sku: str


class OutOfStock(Conflict):
    """Only {available} of {sku} left."""

    sku: str
    available: int


class Inventory(Protocol):
    """Catalogue and stock."""

    @read
    def quote(self, *, skus: tuple[str, ...]) -> tuple[Offer, ...]:
        """The present offers for these SKUs, in their order. Raises UnknownSku for the first that is not for sale."""

    @idempotent
    def reserve(self, *, order_id: UUID, lines: tuple[Line, ...], hold: timedelta) -> Reservation:
        """Set stock aside for an order, all of it or none; lines of the same SKU count together.

        Reserving the same order again returns the same reservation, or the same refusal. After `hold` the reservation
        is announced as due; it is not freed. Raises OutOfStock, UnknownSku; Closed after a release.
        """

    @idempotent
    def release(self, *, order_id: UUID) -> Reservation:
        """Give an order's stock back: a held one to the available, a committed one to the shelf.

        Releasing an order never seen leaves a tombstone, so that a reservation that arrives late is refused.
        """


inventory: Inventory = service("inventory", Inventory)
