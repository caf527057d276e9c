"""REST endpoints for orders: place, list, show, timeline, cancel, look up."""

from typing import Annotated
from uuid import UUID

import msgspec
from django.http import HttpResponse
from rest_framework.request import Request

from contexts.inventory.interface import OutOfStock, UnknownSku
from contexts.orders.checkout.endings import Expired
from contexts.orders.checkout.holds import HoldLimitReached
from contexts.orders.checkout.steps import authorize
from contexts.orders.service import lookup, orders, paying, placing
from contexts.orders.service.cancellation import NotCancellable
from contexts.orders.service.carts import CartClosed, CartNotFound
from contexts.orders.service.currency import CurrencyMismatch
from contexts.orders.service.orders import CartChanged, OrderNotFound
from contexts.orders.service.placing import OrderRequest
from contexts.orders.service.views import OrderView, OrderWasCancelled, TimelineEntry, to_timeline, to_view
from contexts.payments.interface import Declined, PaymentProcessing
from shop.errors import Overloaded
from shop.http import rest
from shop.http.idempotency import Key
from shop.http.openapi_errors import DeclaredError
from shop.http.pagination import Page, PageQuery, paginate
from shop.http.rate_limits import Limiter
from shop.http.reading import RequestBody
from shop.http.rest import ANYONE, CUSTOMER, Email, View, endpoint, respond

ORDER_TOKEN_HEADER = "X-Order-Token"
GUEST_HEADERS = {ORDER_TOKEN_HEADER: "For a guest's order: the `token` from the response to POST orders."}


PLACING_ERRORS: tuple[DeclaredError, ...] = (
    placing.CartOrItems,
    placing.UnknownProvider,
    placing.CartEmpty,
    placing.EmailMissing,
    placing.EmailInvalid,
    placing.TooManyLines,
    placing.TotalTooLarge,
    placing.PriceChanged,
    placing.CartOrderBeingUndone,
    CartNotFound,
    CartClosed,
    CartChanged,
    CurrencyMismatch,
    UnknownSku,
    (UnknownSku, 409),  # it was for sale when the order was placed
    OutOfStock,
    *authorize.REFUSALS,
    Expired,
    HoldLimitReached,
    OrderWasCancelled,
    Overloaded,
)


class OrderTokenQuery(RequestBody, kw_only=True):
    """The token of a guest's order, as the link in an e-mail has it."""

    token: Annotated[str, msgspec.Meta(max_length=100, description="In place of X-Order-Token.")] = ""


class OrderLookup(RequestBody, kw_only=True):
    """The number of an order, with or without #, and the e-mail address that it was placed with."""

    number: Annotated[str, msgspec.Meta(min_length=1, max_length=40)]
    email: Email


class OrdersView(View):
    """The base of all order endpoints."""

    context = "orders"


class OrderList(OrdersView):
    @endpoint(access=CUSTOMER, query=PageQuery, responses={200: Page[OrderView]})
    def get(self, request: Request, query: PageQuery) -> Page[OrderView]:
        """List your orders, the latest first."""
        own_orders = orders.list_for_user(request.user.id)
        return paginate(
            request,
            query,
            own_orders,
            ordering=("-created_at", "-id"),
            to_view=lambda rows: [to_view(row) for row in rows],
        )

    @endpoint(
        access=ANYONE,
        body=OrderRequest,
        responses={201: OrderView, 202: OrderView},
        idempotency="required",
        errors=PLACING_ERRORS,
        limits=("orders",),
        failure_limits=(orders.DECLINED_PAYMENTS,),
        count_limits="by_use_case",
    )
    def post(self, request: Request, body: OrderRequest, key: Key, limiter: Limiter) -> HttpResponse:
        """Place an order.

        201: confirmed, with the payment authorized. It is captured right after the response; if that is refused, the order
        is on_hold then. 202: pending until the customer or the payment provider has acted; poll the order. 402: the payment
        was declined. 409: out of stock, or the first request with this key is still in progress, or the total is not
        `expected_total` any more (price_changed), or the cart was ordered (cart_closed, which names that order). 422: items
        that are no longer for sale, with all their SKUs. 429: too many orders, or too many declined payments; nothing was
        charged. A retry with the same key returns the original response, or while the order is pending its present state.
        """
        result = orders.place(body, user_id=request.user.id, key=key, limiter=limiter)
        return respond(result, 202) if isinstance(result, OrderView) else rest.replay_response(result)


class OrderDetail(OrdersView):
    @endpoint(
        access=ANYONE, query=OrderTokenQuery, responses={200: OrderView}, errors=(OrderNotFound,), headers=GUEST_HEADERS
    )
    def get(self, request: Request, order_id: UUID, query: OrderTokenQuery) -> OrderView:
        """Show an order to its customer, or to a guest with its token."""
        order = orders.get_owned(order_id, user_id=request.user.id, token=_read_order_token(request) or query.token)
        return to_view(order)


class Timeline(OrdersView):
    @endpoint(
        access=ANYONE,
        query=OrderTokenQuery,
        responses={200: Page[TimelineEntry]},
        errors=(OrderNotFound,),
        headers=GUEST_HEADERS,
    )
    def get(self, request: Request, order_id: UUID, query: OrderTokenQuery) -> Page[TimelineEntry]:
        """List what happened to an order, the oldest entry first."""
        order = orders.get_owned(order_id, user_id=request.user.id, token=_read_order_token(request) or query.token)
        return Page(results=to_timeline(order))


class Cancel(OrdersView):
    @endpoint(
        access=ANYONE,
        responses={200: OrderView, 202: OrderView},
        errors=(OrderNotFound, NotCancellable),
        idempotency="none",
        headers=GUEST_HEADERS,
    )
    def post(self, request: Request, order_id: UUID) -> HttpResponse:
        """Cancel an order.

        200: cancelled, with payment and stock returned. 202: the cancellation is in progress. 409: the order can no
        longer be cancelled (see `cancellable` of the order). A repeat changes nothing.
        """
        orders.get_owned(order_id, user_id=request.user.id, token=_read_order_token(request))
        order = orders.request_cancel(order_id)
        return respond(to_view(order), 200 if order.step == "closed" else 202)


class Pay(OrdersView):
    @endpoint(
        access=ANYONE,
        body=paying.PaymentRequest,
        responses={200: OrderView, 202: OrderView},
        errors=(
            OrderNotFound,
            paying.NotPayable,
            placing.UnknownProvider,
            PaymentProcessing,
            Declined,
            Overloaded,
        ),
        idempotency="required",
        headers=GUEST_HEADERS,
        failure_limits=(orders.DECLINED_PAYMENTS,),
        count_limits="by_use_case",
    )
    def post(
        self, request: Request, order_id: UUID, body: paying.PaymentRequest, key: Key, limiter: Limiter
    ) -> HttpResponse:
        """Pay an order that is pending or on hold again, or in another way.

        The last attempt is cancelled first, so that only one takes money. 200: confirmed, or still on hold because this
        payment could not be captured either; the payment of a pending order is captured right after the response. 202:
        pending, or the customer has to act (`payment.action`). 402: declined; a pending order is rejected then, an order on
        hold can be paid again. 409: the order cannot be paid (not_payable), or its payment cannot be replaced now
        (payment_processing). A repeat starts no other attempt.
        """
        orders.get_owned(order_id, user_id=request.user.id, token=_read_order_token(request))
        order = paying.pay(order_id, body, key=key, limiter=limiter)
        view = to_view(order)
        return respond(view, 202 if order.status == "pending" or view.payment.action else 200)


class Lookup(OrdersView):
    @endpoint(access=ANYONE, body=OrderLookup, responses={202: None}, limits=("lookup",))
    def post(self, request: Request, body: OrderLookup) -> None:
        """Send the link to a guest's order by e-mail again.

        The response is the same whether or not there is such an order. 429: too many requests for this address.
        """
        lookup.request_link(body.number, body.email)


def _read_order_token(request: Request) -> str:
    return request.headers.get(ORDER_TOKEN_HEADER, "")
