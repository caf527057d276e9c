"""REST endpoints for stock, for staff: receipts and adjustments."""

from collections.abc import Callable
from functools import partial
from typing import Annotated

import msgspec
from django.http import HttpResponse
from rest_framework.request import Request

from contexts.inventory.interface import UnknownSku
from contexts.inventory.rest.base import InventoryView
from contexts.inventory.service import stock
from shop.http.idempotency import Key, respond_once
from shop.http.reading import RequestBody
from shop.http.rest import Sku, Staff, Text, endpoint, respond
from shop.ids import uuid7

Units = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
SignedUnits = Annotated[int, msgspec.Meta(ge=-1_000_000, le=1_000_000, extra_json_schema={"not": {"const": 0}})]


class StockView(msgspec.Struct):
    """The stock of one SKU."""

    sku: str
    on_hand: int
    reserved: int
    available: int


class Receipt(RequestBody):
    """Delivered units and the reference of the delivery."""

    sku: Sku
    quantity: Units
    reference: Text


class Adjustment(RequestBody):
    """A signed correction of the stock and its reason."""

    sku: Sku
    quantity: SignedUnits
    reason: Text


def _to_stock_view(level: stock.StockLevel) -> StockView:
    return StockView(sku=level.sku, on_hand=level.on_hand, reserved=level.reserved, available=level.available)


class Receipts(InventoryView):
    @endpoint(
        access=Staff("inventory.change"),
        body=Receipt,
        responses={201: StockView},
        errors=(UnknownSku,),
        idempotency="required",
    )
    def post(self, request: Request, body: Receipt, key: Key) -> HttpResponse:
        """Add delivered units to the stock."""
        actor = request.user.get_username()
        receive = partial(stock.receive, sku=body.sku, quantity=body.quantity, reference=body.reference, actor=actor)
        return _move_once(key, receive)


class Adjustments(InventoryView):
    @endpoint(
        access=Staff("inventory.change"),
        body=Adjustment,
        responses={201: StockView},
        errors=(UnknownSku, stock.BelowReserved, stock.NothingToAdjust),
        idempotency="required",
    )
    def post(self, request: Request, body: Adjustment, key: Key) -> HttpResponse:
        """Correct the stock. Units that are reserved for orders cannot be removed: 409."""
        actor = request.user.get_username()
        adjust = partial(stock.adjust, sku=body.sku, quantity=body.quantity, reason=body.reason, actor=actor)
        return _move_once(key, adjust)


def _move_once(key: Key, move: Callable[..., stock.StockLevel]) -> HttpResponse:
    """Book a stock movement once per key. The key is kept as long as the movement, which is for ever."""
    uid = uuid7()
    return respond_once("inventory", key, lambda: respond(_to_stock_view(move(uid=uid)), 201), resource=uid)
