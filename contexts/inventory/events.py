"""Events that inventory publishes."""

from uuid import UUID

from shop.messaging.events import Event


class ReservationEvent(Event, stream="inventory.reservation:{order_id}"):
    """An event about the reservation of an order."""

    order_id: UUID


class ReservationHeld(ReservationEvent, name="inventory.reservation_held", version=1):
    """Stock was reserved for the order."""


class ReservationRefused(ReservationEvent, name="inventory.reservation_refused", version=1):
    """The reservation was refused: only `available` units of `sku` were left."""

    sku: str
    available: int


class ReservationDue(ReservationEvent, name="inventory.reservation_due", version=1):
    """The hold has expired. The stock stays reserved until orders releases or confirms it."""


class ReservationCommitted(ReservationEvent, name="inventory.reservation_committed", version=1):
    """The reserved units were sold and deducted from the stock on hand."""


class ReservationReleased(ReservationEvent, name="inventory.reservation_released", version=1):
    """The units are available again. `restocked`: they had been committed and were added to the stock on hand again."""

    restocked: bool


class StockEvent(Event, stream="inventory.stock:{sku}"):
    """The availability of a SKU changed between sold out and in stock."""

    sku: str


class SoldOut(StockEvent, name="inventory.sold_out", version=1):
    """The last available unit was reserved or removed."""


class BackInStock(StockEvent, name="inventory.back_in_stock", version=1):
    """Units are available again."""
