"""Order lookup: send guests the link to their order again.

The response, the statements and their time are the same whether or not an order matches. Not built yet: an account
takes over the orders of its e-mail address once the address is verified.
"""

from contexts.orders.events import OrderLinkRequested
from contexts.orders.models import Order
from shop.addresses.email import normalize_address
from shop.db.database import transaction
from shop.ids import uuid7
from shop.keyed_hashes import is_same_hash
from shop.messaging.outbox import Revision, publish


def request_link(number: str, email: str) -> None:
    """Send the link to an order to its e-mail address, if this is the address of the order with this number.

    The number may have a `#`, spaces and lower-case letters. Case, and the spelling of an international address, do not matter.
    """
    order = Order.objects.filter(number=_normalize_number(number)).only("id", "email").first()
    is_match = is_same_hash(normalize_address(email), normalize_address(order.email) if order else "")
    order_id = order.id if order and is_match else None
    with transaction("orders"):
        publish(OrderLinkRequested(request_id=uuid7(), order_id=order_id), row=Revision())


def _normalize_number(number: str) -> str:
    return "".join(number.split()).removeprefix("#").upper()
