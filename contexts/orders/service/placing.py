"""Make an order from a request: check it, freeze its prices, and insert it. `service.orders` owns the transaction."""

from collections import Counter
from collections.abc import Iterable
from typing import Annotated, NamedTuple
from uuid import UUID

import msgspec
from django.conf import settings
from psycopg.types.json import Jsonb

from contexts.inventory.interface import Offer, OutOfStock, UnknownSku, inventory
from contexts.orders.checkout.history import append_timeline_entry, build_event_keys
from contexts.orders.checkout.pauses import get_unpaid_hold
from contexts.orders.events import OrderPlaced, OrderRejected
from contexts.orders.interface import OrderStatus
from contexts.orders.models import Order, OrderLine, Step
from contexts.orders.service import carts
from contexts.orders.service.carts import CartContents, Item
from contexts.orders.service.currency import require_currency
from contexts.users.interface import users
from shop import sizes
from shop.addresses.address import AddressRequest
from shop.addresses.email import InvalidAddress, clean_customer_address, parse_customer_address
from shop.db.database import PreparedStatement, execute_deferred
from shop.db.leases import LEASE_DURATION
from shop.errors import Conflict, FieldError, Invalid, Unauthenticated
from shop.http.reading import RequestBody
from shop.http.rest import Currency, Email
from shop.ids import uuid7
from shop.messaging.events import Event
from shop.messaging.outbox import publish
from shop.money import MAX_AMOUNT, Money, sum_amounts

MAX_LINES = settings.MAX_ORDER_LINES
LARGE_ORDER_LINES = 20  # an order with more lines counts for RATE_LIMIT_LARGE_ORDERS, too

Provider = Annotated[
    str,
    msgspec.Meta(
        max_length=sizes.PROVIDER_LENGTH,
        pattern=r"^[a-z0-9_]+$(?!\n)",
        extra={"expected": "the name of a payment provider in lower case"},
    ),
]
PaymentToken = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=sizes.PAYMENT_TOKEN_LENGTH,
        pattern=r"^[\x21-\x7e]+$(?!\n)",
        extra={"expected": "the token from the provider's form, without spaces"},
    ),
]


class PaymentMethod(RequestBody, kw_only=True):
    """A payment provider, and the token that its form gave the customer's browser."""

    provider: Provider
    token: PaymentToken


class ExpectedTotal(RequestBody, kw_only=True):
    """The total that the customer saw, in minor units. An order with another total is refused."""

    amount: Annotated[int, msgspec.Meta(ge=0, le=MAX_AMOUNT)]
    currency: Currency


class OrderRequest(RequestBody, kw_only=True):
    """A cart or items, where to send them, and how they are paid. A guest gives an e-mail address for the receipt."""

    cart_id: UUID | None = None
    items: Annotated[list[Item], msgspec.Meta(min_length=1, max_length=MAX_LINES)] | None = None
    email: Email | None = None
    shipping_address: AddressRequest
    billing_address: AddressRequest | None = None
    payment_method: PaymentMethod
    # UNSET is not encoded: a request without it has the fingerprint that it had before there was such a member.
    expected_total: ExpectedTotal | msgspec.UnsetType | None = msgspec.UNSET


OrderRequest.__name__ = "PlaceOrder"  # the name of its component in the OpenAPI document


class CartOrItems(Invalid):
    """Name either a cart or items."""

    remedy = "Send `cart_id` or `items`, not both."


class UnknownProvider(Invalid):
    """{provider} is not a payment provider of this shop."""

    provider: str


class CartEmpty(Invalid):
    """The cart is empty."""


class TooManyLines(Invalid):
    """An order has up to {most:line}."""

    most: int = MAX_LINES


class EmailMissing(Invalid):
    """An order without an account needs an e-mail address for the receipt."""

    remedy = "Send `email`, or sign in."


class EmailInvalid(Invalid):
    """This is not a valid e-mail address."""

    remedy = "Let the customer correct the address."


class TotalTooLarge(Invalid):
    """The total exceeds the limit for one order."""


class PriceChanged(Conflict):
    """The total is {total} now, not {expected_total}. Show it to the customer, and order with it."""

    expected_total: Money
    total: Money


class CartOrderBeingUndone(Conflict):
    """The last order of this cart still holds its stock; try again in {retry_after:second}."""

    order_id: UUID
    retry_after: int = 1


class NewOrder(NamedTuple):
    """An order that is not stored yet."""

    order: Order
    lines: list[OrderLine]
    cart_version: int  # that the items were read from
    events: list[Event]


def build_order(request: OrderRequest, user_id: UUID | None) -> NewOrder:
    """Build an order at present prices; already rejected if the quote shows that there is not enough stock.

    Raises CartOrItems, UnknownProvider, CartNotFound, CartClosed, CartEmpty, TooManyLines, EmailMissing, EmailInvalid,
    UnknownSku, CurrencyMismatch, TotalTooLarge, PriceChanged, CartOrderBeingUndone, Unavailable.
    """
    cart = _read_items(request, user_id)
    email = _validate_email(request.email) if request.email else _get_email(user_id)
    offers = _fetch_offers(cart.items, is_cart=request.cart_id is not None)
    for offer in offers.values():
        require_currency(offer, cart.currency)
        require_currency(offer, settings.CURRENCY)
    order = _build_row(request, user_id, email)
    lines = [_build_line(order, position, offers[item.sku], item) for position, item in enumerate(cart.items)]
    _set_totals(order, lines, None if request.expected_total is msgspec.UNSET else request.expected_total)
    order._prefetched_objects_cache = {"lines": lines}  # type: ignore[attr-defined]  # Django's cache of `order.lines`
    events: list[Event] = [OrderPlaced(**build_event_keys(order), total=Money(order.total, order.currency))]
    if shortage := _find_shortage(cart.items, offers):
        _assert_not_held_by_last_order(request.cart_id)
        _mark_rejected(order, shortage)
        events.append(OrderRejected(**build_event_keys(order), reason=shortage.code, is_answered=True))
    order.sequence = len(events)
    return NewOrder(order, lines, cart.version, events)


def _read_items(request: OrderRequest, user_id: UUID | None) -> CartContents:
    if (request.cart_id is None) == (request.items is None):
        raise CartOrItems().at("/items" if request.items is not None else "")
    if request.payment_method.provider not in settings.PAYMENT_PROVIDERS:
        raise UnknownProvider(provider=request.payment_method.provider).at("/payment_method/provider")
    if request.cart_id is None:
        return CartContents(version=0, items=request.items or [], currency=settings.CURRENCY)
    contents = carts.get_contents(request.cart_id, user_id)
    if not contents.items:
        raise CartEmpty().at("/cart_id")
    if len(contents.items) > MAX_LINES:  # the cart was filled when the limit was higher
        raise TooManyLines().at("/cart_id")
    return contents


def _fetch_offers(items: list[Item], *, is_cart: bool) -> dict[str, Offer]:
    """Fetch the offers by SKU. Raises UnknownSku with the place of each unknown SKU in the request."""
    skus = tuple(dict.fromkeys(item.sku for item in items))
    try:
        return {offer.sku: offer for offer in inventory.quote(skus=skus)}
    except UnknownSku as unknown:
        if is_cart:
            raise unknown.at("/cart_id") from None
        faults = (
            FieldError(pointer=f"/items/{position}/sku", code=unknown.code, detail=str(UnknownSku(sku=item.sku)))
            for position, item in enumerate(items)
            if item.sku in (unknown.sku, *unknown.skus)
        )
        raise unknown.with_field_errors(faults) from None


def _validate_email(email: str) -> str:
    """Return the address as it was typed. Raises EmailInvalid for what is refused for an account, too: mails would be lost."""
    try:
        clean_customer_address(email)
        parse_customer_address(email)  # mails are sent to this spelling
    except InvalidAddress:
        raise EmailInvalid().at("/email") from None
    return email


def _get_email(user_id: UUID | None) -> str:
    if user_id is None:
        raise EmailMissing().at("/email")
    for profile in users.profiles(user_ids=(user_id,)):
        return profile.email
    raise Unauthenticated


def _build_row(request: OrderRequest, user_id: UUID | None, email: str) -> Order:
    order = Order(
        id=uuid7(),
        user_id=user_id,
        email=email,
        cart_id=request.cart_id,
        currency=settings.CURRENCY,
        shipping_address=msgspec.to_builtins(request.shipping_address),
        billing_address=msgspec.to_builtins(request.billing_address),
        payment_provider=request.payment_method.provider,
        payment_token=request.payment_method.token,
        attempt=1,  # the first lease is this request's
    )
    order.timeline = append_timeline_entry(order, "placed", "The order was placed.")
    return order


def _build_line(order: Order, position: int, offer: Offer, item: Item) -> OrderLine:
    return OrderLine(
        order=order,
        position=position,
        sku=offer.sku,
        name=offer.name,
        quantity=item.quantity,
        unit_price=offer.price.amount,
        total=offer.price.amount * item.quantity,
        currency=offer.price.currency,
    )


def _set_totals(order: Order, lines: Iterable[OrderLine], expected_total: ExpectedTotal | None) -> None:
    totals = carts.compute_totals(sum_amounts((Money(line.total, line.currency) for line in lines), order.currency))
    if totals.total.amount > MAX_AMOUNT:
        raise TotalTooLarge
    if expected_total and (expected := Money(expected_total.amount, expected_total.currency)) != totals.total:
        raise PriceChanged(expected_total=expected, total=totals.total)
    order.items_total = totals.items.amount
    order.discount_total = totals.discount.amount
    order.shipping_total = totals.shipping.amount
    order.tax_total = totals.tax.amount
    order.total = totals.total.amount


def _find_shortage(items: Iterable[Item], offers: dict[str, Offer]) -> OutOfStock | None:
    """Find a SKU of which the quote shows fewer units than requested, so that nothing has to be reserved.

    That the quote shows enough proves nothing: only the reservation decides.
    """
    demand: Counter[str] = Counter()
    for item in items:
        demand[item.sku] += item.quantity
    for sku, quantity in demand.items():
        if offers[sku].available < quantity:
            return OutOfStock(sku=sku, available=max(0, offers[sku].available))
    return None


def _assert_not_held_by_last_order(cart_id: UUID | None) -> None:
    """Raise CartOrderBeingUndone if an order of this cart has ended, but has not released its stock yet."""
    undo_steps = [Step.UNDO_MONEY, Step.UNDO_STOCK]
    if cart_id and (order := Order.objects.filter(cart_id=cart_id, step__in=undo_steps).only("id").first()):
        raise CartOrderBeingUndone(order_id=order.id)


def _mark_rejected(order: Order, refusal: OutOfStock) -> None:
    order.status, order.step = OrderStatus.REJECTED, Step.CLOSED
    order.refusal = {"code": refusal.code, "facts": refusal.facts, "is_answered": True, "is_quoted": True}
    order.timeline = append_timeline_entry(order, "rejected", str(refusal))
    order.payment_token = ""


# Columns that take the value of the attribute of the same name, and columns set by the clock of the database.
ATTRIBUTE_COLUMNS = (
    "id",
    "number",
    "user_id",
    "email",
    "cart_id",
    "status",
    "step",
    "sequence",
    "currency",
    "items_total",
    "discount_total",
    "shipping_total",
    "tax_total",
    "total",
    "shipping_address",
    "billing_address",
    "payment_provider",
    "payment_token",
    "attempt_counters",
    "hold_keys",
    "payment_status",
    "timeline",
    "created_at",
    "tries",
    "attempt",
    "refusal",
)
CLOCK_COLUMNS = {
    "lease_until": "now() + %(lease)s",
    "due_at": "now() + %(lease)s",
    "expires_at": "now() + %(hold)s",
}
LINE_COLUMNS = {
    "position": "int",
    "sku": "text",
    "name": "text",
    "quantity": "int",
    "unit_price": "bigint",
    "total": "bigint",
    "currency": "text",
}


def _build_insert() -> PreparedStatement:
    columns = {name: f"%({name})s" for name in ATTRIBUTE_COLUMNS} | CLOCK_COLUMNS
    arrays = ", ".join(f"%(line_{name})s::{type_}[]" for name, type_ in LINE_COLUMNS.items())
    return PreparedStatement(f"""
WITH placed AS (
    INSERT INTO orders_order ({", ".join(columns)}) VALUES ({", ".join(columns.values())}) RETURNING id)
INSERT INTO orders_orderline (order_id, {", ".join(LINE_COLUMNS)})
SELECT placed.id, line.* FROM placed, unnest({arrays}) AS line""")


INSERT_ORDER = _build_insert()


def insert_order(new: NewOrder) -> None:
    """Insert an order with its lines and publish its events, inside the open transaction of the caller.

    It takes the first lease, unless it is already rejected.
    """
    if new.order.is_final:
        new.order.attempt_counters = new.order.hold_keys = None
    parameters: dict[str, object] = {name: _adapt(getattr(new.order, name)) for name in ATTRIBUTE_COLUMNS}
    parameters |= {f"line_{name}": [getattr(line, name) for line in new.lines] for name in LINE_COLUMNS}
    parameters["lease"] = None if new.order.is_final else LEASE_DURATION
    parameters["hold"] = get_unpaid_hold()
    execute_deferred("orders", INSERT_ORDER, parameters)
    publish(*new.events, row=new.order)


def _adapt(value: object) -> object:
    return Jsonb(value) if isinstance(value, dict | list) else value
