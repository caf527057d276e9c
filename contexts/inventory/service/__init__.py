"""Use cases of inventory: the catalogue (read, edit, seed), stock, and reservations."""

from datetime import timedelta
from uuid import UUID

from contexts.inventory.interface import Inventory, Line, Offer, Reservation
from contexts.inventory.service import catalogue, reservations


class LocalInventory(Inventory):
    """Implementation of the interface in the process that hosts inventory."""

    def quote(self, *, skus: tuple[str, ...]) -> tuple[Offer, ...]:
        return catalogue.quote(skus)

    def offers(self, *, skus: tuple[str, ...]) -> tuple[Offer, ...]:
        return catalogue.find_offers(skus)

    def reserve(self, *, order_id: UUID, lines: tuple[Line, ...], hold: timedelta) -> Reservation:
        return reservations.reserve(order_id, lines, hold)

    def release(self, *, order_id: UUID) -> Reservation:
        return reservations.release(order_id)
