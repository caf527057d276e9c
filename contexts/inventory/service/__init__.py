"""Use cases of inventory: the catalogue (read, edited, seeded), stock, and reservations of it."""

from datetime import timedelta
from uuid import UUID

from contexts.inventory.interface import Inventory, Line, Offer, Reservation
from contexts.inventory.service import catalogue, reservations


class LocalInventory(Inventory):
    """The use cases that other contexts may ask for, in this process."""

    def quote(self, *, skus: tuple[str, ...]) -> tuple[Offer, ...]:
        return catalogue.quote(skus)

    def reserve(self, *, order_id: UUID, lines: tuple[Line, ...], hold: timedelta) -> Reservation:
        return reservations.reserve(order_id, lines, hold)

    def release(self, *, order_id: UUID) -> Reservation:
        return reservations.release(order_id)
