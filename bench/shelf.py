"""An interface like those of the contexts, with no database behind it, and the internal server of whoever hosts it."""

from typing import Protocol

from django.conf import settings

from shop import remote, services
from shop.services import DTO, read, service


class Offer(DTO):
    """What one unit of a SKU costs."""

    sku: str
    amount: int
    available: int


class Shelf(Protocol):
    """An interface like those of the contexts."""

    @read
    def offers(self, *, skus: tuple[str, ...]) -> tuple[Offer, ...]:
        """The offers for these SKUs."""


class LocalShelf(Shelf):
    def offers(self, *, skus: tuple[str, ...]) -> tuple[Offer, ...]:
        return tuple(Offer(sku=sku, amount=1999, available=7) for sku in skus)


shelf: Shelf = service("shelf", Shelf)
LOCAL = f"{__name__}.LocalShelf"
services.configure({"shelf": LOCAL}, "local")
services.reach_by(remote.reach)
settings.configure(CONTEXTS=("shelf",), CALL_KEYS={"shelf": ["only between these two processes"]})
application = remote.application(services.served(("shelf",)))
