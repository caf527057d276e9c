"""HTTP of orders: placed, looked at, cancelled."""

from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from django.conf import settings
from django.db.transaction import on_commit
from django.http import HttpResponse
from rest_framework.request import Request

from contexts.orders.interface import OrderLine, Status
from contexts.orders.service import carts, checkout, to_line
from contexts.orders.service.carts import Totals
from shop import idempotency, problems, rest
from shop.errors import Conflict, Invalid, error_class
from shop.idempotency import Key
from shop.money import Money
from shop.rest import ANYONE, CUSTOMER, Email, Page, PageQuery, Quantity, Sku, Text, View, endpoint, respond
from shop.shapes import learn

MAX_LINES = 1000
ORDER_TOKEN = "X-Order-Token"
GUESTS = {ORDER_TOKEN: "Of a guest's order: the `token` that it was answered with."}


class Address(msgspec.Struct, kw_only=True):
    """Where something is sent. `country` is ISO 3166 alpha-2."""

    name: Text
    line1: Text
    line2: Annotated[str, msgspec.Meta(max_length=200)] = ""
    city: Text
    postal_code: Annotated[str, msgspec.Meta(min_length=1, max_length=20)]
    region: Annotated[str, msgspec.Meta(max_length=100)] = ""
    country: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{2}$(?!\n)")]


class Item(msgspec.Struct, kw_only=True):
    """So many units of one SKU."""

    sku: Sku
    quantity: Quantity


class PaymentMethod(msgspec.Struct, kw_only=True):
    """The provider, and the token that its form gave the customer's browser."""

    provider: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9_]{1,30}$(?!\n)")]
    token: Annotated[str, msgspec.Meta(min_length=1, max_length=255, pattern=r"^[\x21-\x7e]+$(?!\n)")]


class PlaceOrder(msgspec.Struct, kw_only=True):
    """A cart, or items; where it goes; how it is paid. A guest says where the receipt goes."""

    cart_id: UUID | None = None
    items: Annotated[list[Item], msgspec.Meta(min_length=1, max_length=MAX_LINES)] | None = None
    email: Email | None = None
    shipping_address: Address
    billing_address: Address | None = None
    payment_method: PaymentMethod


class Action(msgspec.Struct):
    """What the customer has to do before the payment goes on."""

    type: Literal["redirect"]
    url: str


class PaymentView(msgspec.Struct, kw_only=True):
    """How far the payment is."""

    id: UUID | None
    status: str
    action: Action | None = None


class Shipment(msgspec.Struct, kw_only=True):
    """A parcel on its way."""

    id: UUID


class OrderView(msgspec.Struct, kw_only=True):
    """An order as its customer sees it. `token` is a guest's key to it: sent as X-Order-Token, it shows the order again."""

    id: UUID
    number: str
    status: Status
    created_at: datetime | None
    email: str
    lines: list[OrderLine]
    totals: Totals
    payment: PaymentView
    shipments: list[Shipment]
    shipping_address: Address
    cancel_requested: bool
    token: str | None = None


class TimelineEntry(msgspec.Struct):
    """Something that happened to an order."""

    at: datetime
    kind: str
    text: str
    context: str


learn(Address, list[TimelineEntry])


class CartOrItems(Invalid):
    """Name either a cart or items."""


class UnknownProvider(Invalid):
    """{provider} is not a payment provider of this shop."""

    provider: str


class OrderWasCancelled(Conflict):
    """The order was cancelled."""


class OrdersView(View):
    """What every view of orders stands on."""

    context = "orders"


class OrderList(OrdersView):
    @endpoint(who=CUSTOMER, query=PageQuery, answers={200: Page[OrderView]})
    def get(self, request: Request, query: PageQuery) -> Page[OrderView]:
        """List your orders, the latest first."""
        mine = checkout.of_user(request.user.id)
        return rest.page(request, mine, ordering=("-created_at", "-id"), to_view=lambda found: [*map(to_view, found)])

    @endpoint(who=ANYONE, body=PlaceOrder, answers={201: OrderView, 202: OrderView}, key="required")
    def post(self, request: Request, body: PlaceOrder, key: Key) -> HttpResponse:
        """Place an order.

        201: confirmed (on_hold where the money could not be taken). 202: it waits for the customer or the payment
        provider; look at it again. 402: the payment was declined. 409: out of stock, or the first request with this key
        is still running. A repeat with the same key answers the same, or how far the order is by now.
        """
        known, reply = idempotency.find("orders", key), Reply(key)
        if known is None:
            order = checkout.place(_wish(request, body), key=key, before_release=reply)
        elif known.status is not None:
            return rest.repeat(known)
        elif checkout.is_busy(known.resource):
            raise idempotency.IdempotencyKeyInFlight
        else:
            order = checkout.resume(known.resource, before_release=reply)
        if reply.response is None:
            reply(order)
        return reply.response


class Reply:
    """The answer of POST orders: made where the order comes to rest, and stored with the key once it is final.

    It is given only where the transaction that stores it is committed: a worker that was overtaken while it wrote down
    an answer has none.
    """

    def __init__(self, key: Key) -> None:
        self.key = key
        self.response: HttpResponse | None = None

    def __call__(self, order: Any) -> None:
        """Answer for the order as it is; in the transaction that made it so, if there is one."""
        response = answer(order)
        if response.status_code != HTTPStatus.ACCEPTED:
            stored = idempotency.finish("orders", self.key, response.status_code, response.content)
            response = rest.repeat(stored)
        on_commit(partial(setattr, self, "response", response), using="orders")


def _wish(request: Request, body: PlaceOrder) -> checkout.Wish:
    if (body.cart_id is None) == (body.items is None):
        raise CartOrItems
    if body.payment_method.provider not in settings.PAYMENT_PROVIDERS:
        raise UnknownProvider(provider=body.payment_method.provider)
    version, items = carts.contents(body.cart_id) if body.cart_id else (0, [(i.sku, i.quantity) for i in body.items or ()])
    return checkout.Wish(
        items=items,
        cart=(body.cart_id, version) if body.cart_id else None,
        user_id=request.user.id,
        email=body.email or "",
        shipping_address=msgspec.to_builtins(body.shipping_address),
        billing_address=msgspec.to_builtins(body.billing_address),
        provider=body.payment_method.provider,
        token=body.payment_method.token,
    )


class OrderDetail(OrdersView):
    @endpoint(who=ANYONE, answers={200: OrderView}, headers=GUESTS)
    def get(self, request: Request, order_id: UUID) -> OrderView:
        """Show an order to its customer; to a guest by its token in X-Order-Token."""
        return to_view(_owned(request, order_id))


class Timeline(OrdersView):
    @endpoint(who=ANYONE, answers={200: Page[TimelineEntry]}, headers=GUESTS)
    def get(self, request: Request, order_id: UUID) -> Page[TimelineEntry]:
        """Tell what happened to an order, in order."""
        return Page(results=msgspec.convert(_owned(request, order_id).timeline, list[TimelineEntry]))


class Cancel(OrdersView):
    @endpoint(who=ANYONE, answers={200: OrderView, 202: OrderView}, key="none", headers=GUESTS)
    def post(self, request: Request, order_id: UUID) -> HttpResponse:
        """Ask for an order to be cancelled.

        200: it is, money and stock are back. 202: it will be. 409: it has gone too far. A repeat changes nothing.
        """
        _owned(request, order_id)
        order = checkout.request_cancel(order_id)
        return respond(to_view(order), 200 if order.step == "closed" else 202)


def _owned(request: Request, order_id: UUID) -> Any:
    return checkout.owned(order_id, user_id=request.user.id, token=request.headers.get(ORDER_TOKEN, ""))


def answer(order: Any) -> HttpResponse:
    """What POST orders answers for an order as it is."""
    if order.status == "pending":
        return respond(to_view(order), 202)
    if order.refusal:
        refusal = error_class(order.refusal["code"])(**order.refusal["facts"])
        return problems.problem(refusal, order_id=str(order.id), status=ANSWERED_AS.get(refusal.code))
    if order.status == "cancelled":
        return problems.problem(OrderWasCancelled(), order_id=str(order.id))
    return respond(to_view(order), 201)


ANSWERED_AS = {"inventory.unknown_sku": 409}  # it was for sale when the order was placed


def to_view(order: Any) -> OrderView:
    """An order's row as its customer sees it."""
    action = order.payment_action
    return OrderView(
        id=order.id,
        number=order.number,
        status=order.status,
        created_at=order.created_at,
        email=order.email,
        lines=[to_line(line, order.currency) for line in order.lines.all()],
        totals=_totals(order),
        payment=PaymentView(
            id=order.payment_id, status=order.payment_status or "none", action=Action(**action) if action else None
        ),
        shipments=[],
        shipping_address=msgspec.convert(order.shipping_address, Address),
        cancel_requested=order.cancel_requested_at is not None,
        token=None if order.user_id else checkout.token_of(order.id),
    )


def _totals(order: Any) -> Totals:
    parts = ("items", "discount", "shipping", "tax")
    money = {part: Money(getattr(order, f"{part}_total"), order.currency) for part in parts}
    return Totals(**money, total=Money(order.total, order.currency))
