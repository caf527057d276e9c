"""Define an interface like those of the contexts, without a database, and the internal server of its host."""

from typing import Protocol

from django.conf import settings

from shop.calls import services
from shop.calls.remote.client import bind_remote
from shop.calls.remote.server import create_application
from shop.calls.services import DTO, read, service


class Offer(DTO):
    """The price of one unit of a SKU."""

    sku: str
    amount: int
    available: int


class OfferService(Protocol):
    """An interface like those of the contexts."""

    @read
    def offers(self, *, skus: tuple[str, ...]) -> tuple[Offer, ...]:
        """Return the offers for these SKUs."""


class LocalOfferService(OfferService):
    def offers(self, *, skus: tuple[str, ...]) -> tuple[Offer, ...]:
        return tuple(Offer(sku=sku, amount=1999, available=7) for sku in skus)


offer_service: OfferService = service("shelf", OfferService)
LOCAL_BINDING = f"{__name__}.{LocalOfferService.__name__}"
services.configure({"shelf": LOCAL_BINDING}, "local")
services.set_remote_transport(bind_remote)
settings.configure(CONTEXTS=("shelf",), CALL_KEYS={"shelf": ["only between these two processes"]})
received: set[str] = set()


def record_nonce(context: str, nonce: str) -> bool:
    """Record a nonce in memory, since there is no database."""
    is_new = nonce not in received
    received.add(nonce)
    return is_new


application = create_application(services.get_served_methods(("shelf",)), record_nonce)
