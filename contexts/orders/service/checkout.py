"""The way of an order: placed, carried on by whoever has its lease, cancelled on request."""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import structlog
from django.conf import settings
from django.db import IntegrityError
from django.db.models import F, QuerySet
from django.db.models.functions import Now
from psycopg.types.json import Jsonb

from contexts.inventory.interface import Offer, OutOfStock, inventory
from contexts.orders import saga
from contexts.orders.events import OrderPlaced, OrderRejected
from contexts.orders.models import Cart, Order, OrderLine
from contexts.orders.service import carts
from contexts.users.interface import users
from shop import idempotency, leases
from shop.audit import audit
from shop.database import Prepared, later, transaction
from shop.errors import Conflict, Invalid, NotFound, Unauthenticated
from shop.events import Event
from shop.ids import uuid7
from shop.leases import LEASE, Fenced
from shop.money import MAX_AMOUNT, Money, total
from shop.outbox import publish

Status, Step = Order.Status, Order.Step
CANCELLABLE = (Status.PENDING, Status.CONFIRMED, Status.ON_HOLD)

log = structlog.get_logger(__name__)


class OrderNotFound(NotFound):
    """There is no such order."""


class CartEmpty(Invalid):
    """There is nothing in the cart."""


class CartChanged(Conflict):
    """The cart was changed, or ordered, while the order was being placed."""


class EmailMissing(Invalid):
    """Say where to send the receipt: an order without an account needs an e-mail address."""


class TotalTooLarge(Invalid):
    """The order comes to more than this shop takes at once."""


class NotCancellable(Conflict):
    """An order that is {present} cannot be cancelled."""

    present: str


class Wish(msgspec.Struct, kw_only=True):
    """What somebody wants to order, and how it is paid."""

    items: list[tuple[str, int]]
    cart: tuple[UUID, int] | None = None  # the cart that it came from, and the version that was seen
    user_id: UUID | None = None
    email: str = ""
    shipping_address: dict[str, Any]
    billing_address: dict[str, Any] | None = None
    provider: str
    token: str


def place(
    wish: Wish, *, key: idempotency.Key, before_release: Callable[[Order], object] = lambda order: None
) -> Order:
    """Place an order and carry it on until it is final or has to wait.

    Nothing is kept of an order whose items are not for sale. Raises UnknownSku, CartEmpty, CartChanged, EmailMissing,
    TotalTooLarge, IdempotencyKeyInFlight; Unavailable only as long as there is no order yet.
    """
    if not wish.items:
        raise CartEmpty
    email = wish.email or _email_of(wish.user_id)
    offers = {offer.sku: offer for offer in inventory.quote(skus=tuple(dict.fromkeys(sku for sku, _ in wish.items)))}
    order, lines = _freeze(wish, email, offers)
    if refusal := _too_few(wish, offers):
        _store(order, lines, wish, key, refusal, before_release)
        return order
    _store(order, lines, wish, key)
    return _carried_on(order, before_release)


def _too_few(wish: Wish, offers: dict[str, Offer]) -> OutOfStock | None:
    """What cannot be had at this moment need not be reserved first. Whether it can is for the reservation to say."""
    demand: Counter[str] = Counter()
    for sku, quantity in wish.items:
        demand[sku] += quantity
    for sku, wanted in demand.items():
        if offers[sku].available < wanted:
            return OutOfStock(sku=sku, available=max(0, offers[sku].available))
    return None


def _email_of(user_id: UUID | None) -> str:
    if user_id is None:
        raise EmailMissing
    for profile in users.profiles(user_ids=(user_id,)):
        return profile.email
    raise Unauthenticated


def _freeze(wish: Wish, email: str, offers: dict[str, Offer]) -> tuple[Order, list[OrderLine]]:
    """The order and its lines at the prices of this moment, not stored yet."""
    order = Order(
        id=uuid7(), user_id=wish.user_id, email=email, cart_id=wish.cart[0] if wish.cart else None,
        currency=settings.CURRENCY, shipping_address=wish.shipping_address, billing_address=wish.billing_address,
        payment_provider=wish.provider, payment_token=wish.token, attempt=1,
    )  # fmt: skip
    lines = [_line(order, position, offers[sku], n) for position, (sku, n) in enumerate(wish.items)]
    totals = carts.totals_of(total((Money(line.total, order.currency) for line in lines), order.currency))
    if totals.total.amount > MAX_AMOUNT:
        raise TotalTooLarge
    order.items_total, order.discount_total = totals.items.amount, totals.discount.amount
    order.shipping_total, order.tax_total = totals.shipping.amount, totals.tax.amount
    order.total = totals.total.amount
    return order, lines


def _line(order: Order, position: int, offer: Offer, quantity: int) -> OrderLine:
    return OrderLine(
        order=order, position=position, sku=offer.sku, name=offer.name, quantity=quantity,
        unit_price=offer.price.amount, total=offer.price.amount * quantity,
    )  # fmt: skip


PLACED = (
    "id", "number", "user_id", "email", "cart_id", "status", "step", "sequence", "currency", "items_total", "discount_total",
    "shipping_total", "tax_total", "total", "shipping_address", "billing_address", "payment_provider", "payment_token",
    "payment_status", "timeline", "created_at", "tries", "attempt", "refusal",
)  # fmt: skip
_PLACE = Prepared(f"""
WITH placed AS (
    INSERT INTO orders_order ({", ".join(PLACED)}, lease_until, due_at, expires_at)
    VALUES ({", ".join("%s" for _ in PLACED)}, now() + %s, now() + %s, now() + %s) RETURNING id)
INSERT INTO orders_orderline (order_id, position, sku, name, quantity, unit_price, total)
SELECT placed.id, line.* FROM placed,
       unnest(%s::int[], %s::text[], %s::text[], %s::int[], %s::bigint[], %s::bigint[]) AS line""")


def _store(
    order: Order,
    lines: list[OrderLine],
    wish: Wish,
    key: idempotency.Key,
    refusal: OutOfStock | None = None,
    also: Callable[[Order], object] = lambda order: None,
) -> None:
    """Order, lines, the key and the facts, in one transaction. With the first lease, this request's; or refused for good."""
    order.timeline = saga.told(order, "placed", "The order was placed.")
    order._prefetched_objects_cache = {"lines": lines}  # what was just written need not be read
    who = {"order_id": order.id, "number": order.number, "user_id": order.user_id}
    facts: list[Event] = [OrderPlaced(**who, total=Money(order.total, order.currency))]
    if refusal:
        order.status, order.step, order.refusal = Status.REJECTED, Step.CLOSED, {"code": refusal.code, "facts": refusal.facts}
        order.timeline, order.payment_token = saga.told(order, "rejected", str(refusal)), ""
        facts.append(OrderRejected(**who, reason=refusal.code))
    order.sequence = len(facts)
    try:
        with transaction("orders"):
            idempotency.record("orders", key, resource=order.id)
            if wish.cart and not _take_cart(*wish.cart):
                raise CartChanged
            later("orders", _PLACE, _values(order, lines))
            for sequence, fact in enumerate(facts, 1):
                publish(fact, sequence=sequence)
            also(order)
    except IntegrityError as error:
        if "one_live_order_per_cart" in str(error):
            raise CartChanged from None
        raise


def _values(order: Order, lines: list[OrderLine]) -> list[Any]:
    values = [getattr(order, name) for name in PLACED]
    hold = timedelta(seconds=settings.RESERVATION_HOLD_SECONDS)
    lease = None if order.is_final else LEASE
    columns = ("position", "sku", "name", "quantity", "unit_price", "total")
    return [
        *(Jsonb(value) if isinstance(value, dict | list) else value for value in values), lease, lease, hold,
        *([getattr(line, column) for line in lines] for column in columns),
    ]  # fmt: skip


def _take_cart(cart_id: UUID, version: int) -> bool:
    return bool(Cart.objects.filter(pk=cart_id, version=version).update(version=F("version") + 1))


def _carried_on(order: Order, before_release: Callable[[Order], object]) -> Order:
    """Carried on; or, where another worker has taken over, as it is now."""
    try:
        return saga.carry_on(order, before_release=before_release)
    except Fenced:
        return get(order.id)


def resume(order_id: UUID, *, before_release: Callable[[Order], object] = lambda order: None) -> Order:
    """Carry an order on if nobody does; who does is told to look once more. Raises OrderNotFound."""
    try:
        order = leases.take(Order, "orders", order_id)
    except Order.DoesNotExist:
        raise OrderNotFound from None
    if order is None:
        return get(order_id)
    return _carried_on(order, before_release)


def carry_on_due() -> None:
    """Carry on what waits for its time or was left behind by a worker that died."""
    leases.work_off(Order, "orders", resume)


def request_cancel(order_id: UUID, *, actor: str = "") -> Order:
    """Ask for an order to be cancelled, and carry that out unless somebody is at it. Raises NotCancellable.

    A repeat changes nothing. `actor` is the member of staff who asks, empty for the customer.
    """
    ask_to_cancel(order_id, actor=actor)
    order = get(order_id)
    if order.cancel_requested_at is None:
        raise NotCancellable(present=order.status)
    return order if order.step == Step.CLOSED else resume(order_id)


def ask_to_cancel(order_id: UUID, *, actor: str = "") -> None:
    """Note that an order is to be cancelled, if it still can be."""
    with transaction("orders"):
        asked = Order.objects.filter(pk=order_id, status__in=CANCELLABLE, cancel_requested_at=None).update(
            cancel_requested_at=Now(), due_at=Now(), woken=True
        )  # woken: whoever holds the lease looks again, even if this process ends before it can say so
        if asked and actor:
            audit("orders", actor=actor, action="cancel", object_type="order", object_id=order_id)


def is_busy(order_id: UUID) -> bool:
    """Whether a worker is carrying the order on at this moment."""
    return Order.objects.filter(pk=order_id, lease_until__gt=Now()).exists()


def get(order_id: UUID) -> Order:
    """An order with its lines. Raises OrderNotFound."""
    order = Order.objects.filter(pk=order_id).prefetch_related("lines").first()
    if order is None:
        raise OrderNotFound
    return order


def owned(order_id: UUID, *, user_id: UUID | None, token: str) -> Order:
    """The order, for the customer whose it is, or for whoever holds its token. Raises OrderNotFound for anybody else."""
    order = get(order_id)
    mine = user_id is not None and order.user_id == user_id
    if mine or (token and idempotency.same(token, token_of(order_id))):
        return order
    raise OrderNotFound


def token_of(order_id: UUID) -> str:
    """What shows that somebody placed an order as a guest: from the id and the shop's secret, stored nowhere."""
    return idempotency.keyed_hash(f"order {order_id}".encode())


def of_user(user_id: UUID) -> QuerySet[Order]:
    """The orders of a customer."""
    return Order.objects.filter(user_id=user_id).prefetch_related("lines")
