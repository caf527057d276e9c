"""What inventory announces."""

from uuid import UUID

from shop.events import Event


class ReservationEvent(Event, stream="inventory.reservation:{order_id}"):
    """Something happened to the stock set aside for an order."""

    order_id: UUID


class ReservationHeld(ReservationEvent, name="inventory.reservation_held", version=1):
    """Stock was set aside."""


class ReservationRefused(ReservationEvent, name="inventory.reservation_refused", version=1):
    """There was not enough."""

    sku: str
    available: int


class ReservationDue(ReservationEvent, name="inventory.reservation_due", version=1):
    """The hold is over. The stock stays held: orders decides."""


class ReservationCommitted(ReservationEvent, name="inventory.reservation_committed", version=1):
    """The units were sold and left the shelf."""


class ReservationReleased(ReservationEvent, name="inventory.reservation_released", version=1):
    """The units can be bought again. `restocked` where they had been sold and went back to the shelf."""

    restocked: bool


class StockEvent(Event, stream="inventory.stock:{sku}"):
    """The availability of a SKU crossed a line."""

    sku: str


class SoldOut(StockEvent, name="inventory.sold_out", version=1):
    """The last available unit was taken."""


class BackInStock(StockEvent, name="inventory.back_in_stock", version=1):
    """There are units to be bought again."""
