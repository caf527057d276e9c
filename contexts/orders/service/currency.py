"""The currency of carts and orders: an offer in another one is refused, and no amount is relabelled."""

from django.conf import settings

from contexts.inventory.interface import Offer
from shop.errors import Conflict


class CurrencyMismatch(Conflict):
    """{sku} is priced in {offered}, but this cart or order is in {currency}."""

    sku: str
    offered: str
    currency: str


def get_currency(currency: str) -> str:
    """Return the currency of a cart, as its row has it. A cart of an older release has none yet: it is in CURRENCY."""
    return currency or settings.CURRENCY


def require_currency(offer: Offer, currency: str) -> None:
    """Raise CurrencyMismatch if an offer is priced in another currency."""
    if offer.price.currency != currency:
        raise CurrencyMismatch(sku=offer.sku, offered=offer.price.currency, currency=currency)
