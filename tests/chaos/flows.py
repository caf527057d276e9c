"""What is killed in the middle: ways of an order through the shop, and how each of them has to end."""

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace

import psycopg
from django.db import close_old_connections
from django.test import override_settings

from shop import chaos, engine, events, inbox, relay
from shop.database import hosted
from tests.chaos.aftermath import Fate, at_rest
from tests.chaos.quarantine import place_of
from tests.shopper import Answer, InProcess

STOCK = 2  # units of each purchase's own SKU
PATIENCE = 8.0  # seconds for a flow that nobody disturbs

SOLD = Fate("confirmed", "done", "captured", 1, 1, 0, 1, "committed", -1, ("order_confirmed",))
TOLD_TWICE = ("order_cancelled", "order_confirmed")
CANCELLED = Fate("cancelled", "closed", "refunded", 1, 1, 1, 0, "released", 0, TOLD_TWICE)
SOLD_AND_CANCELLED = replace(CANCELLED, reservation="restocked")
BEFORE_CAPTURE = {"payment": "voided", "captured": 0, "refunded": 0}  # payments was away when the money was to be taken
CANCELLED_UNPAID, SOLD_AND_CANCELLED_UNPAID = (replace(one, **BEFORE_CAPTURE) for one in (CANCELLED, SOLD_AND_CANCELLED))
REJECTED = Fate("rejected", "closed", reservation="released", mails=("order_rejected",))
REFUSED_AT_ONCE, NEVER_HELD, DECLINED, VOIDED = (
    replace(REJECTED, **what)
    for what in ({"reservation": None}, {"reservation": "refused"}, {"payment": "declined"}, {"payment": "voided"})
)
QUOTED = ("call.inventory.quote.after", "wire.inventory.quote.after")  # here, or in another process


@dataclass(frozen=True)
class Flow:
    """What a customer does, and what comes of it."""

    name: str
    token: str
    answers: tuple[int, ...]  # to each request, once all is done
    fates: tuple[Fate, ...]  # one of these
    quantity: int = 1
    hold: float = 900.0  # seconds to pay in
    one_breaks: bool = False  # a unit less is there when it is to be reserved than when it was quoted


FLOWS = {
    flow.name: flow
    for flow in (
        Flow("buy", "tok_ok", (201,), (SOLD,)),
        Flow("decline", "tok_declined", (402,), (DECLINED,)),
        Flow("out_of_stock", "tok_ok", (409,), (REFUSED_AT_ONCE,), quantity=STOCK + 1),
        Flow("sold_out_meanwhile", "tok_ok", (409,), (NEVER_HELD, REFUSED_AT_ONCE), quantity=STOCK, one_breaks=True),
        Flow("cancel", "tok_ok", (201, 200), (CANCELLED, SOLD_AND_CANCELLED, CANCELLED_UNPAID, SOLD_AND_CANCELLED_UNPAID)),
        Flow("timeout", "tok_timeout_then_ok", (201,), (SOLD,)),
        Flow("expiry", "tok_requires_action", (409,), (VOIDED, REJECTED), hold=0.3),
    )
}


@dataclass(frozen=True)
class Purchase:
    """One customer in one flow, with a SKU, an address and a key of their own."""

    flow: str
    sku: str
    email: str
    key: str

    @classmethod
    def of(cls, flow: str, sku: str) -> "Purchase":
        return cls(flow, sku, f"{uuid.uuid4().hex}@example.com", uuid.uuid4().hex)

    @property
    def way(self) -> Flow:
        return FLOWS[self.flow]


def order(purchase: Purchase) -> list[int]:
    """The customer's requests, each once. Returns the answers' statuses."""
    way, shopper = purchase.way, InProcess()
    with override_settings(RESERVATION_HOLD_SECONDS=way.hold):
        placed = _place(shopper, purchase)
    if len(way.answers) == 1 or placed.status != way.answers[0]:
        return [placed.status]
    return [placed.status, _cancel(shopper, placed).status]


def _place(shopper: InProcess, purchase: Purchase) -> Answer:
    close_old_connections()  # as between any two requests
    items = [{"sku": purchase.sku, "quantity": purchase.way.quantity}]
    with _breaking(purchase) if purchase.way.one_breaks else nullcontext():
        return shopper.order(token=purchase.way.token, key=purchase.key, email=purchase.email, items=items)


@contextmanager
def _breaking(purchase: Purchase) -> Iterator[None]:
    """When the stock has been quoted, one unit less is there; on a connection that no fault hits."""
    told = chaos.reached

    def reached(point: str) -> None:
        if point in QUOTED:
            with psycopg.connect(**place_of("inventory"), autocommit=True) as elsewhere:
                elsewhere.execute(BREAK, [purchase.sku, STOCK])
        if told:
            told(point)

    chaos.reached = reached
    try:
        yield
    finally:
        chaos.reached = told


BREAK = "UPDATE inventory_stock SET on_hand = on_hand - 1, initial = initial - 1 WHERE sku = %s AND on_hand = %s"


def _cancel(shopper: InProcess, placed: Answer) -> Answer:
    close_old_connections()
    return shopper.post(f"orders/{placed.body['id']}/cancel", X_Order_Token=placed.body["token"])


class ByHand:
    """The engine, one step after the other in one thread: what it passes is the same each time."""

    def __init__(self) -> None:
        self.engine = engine.Engine()
        self.engine.stopping.set()  # it does not pause after an outage
        self.timers = {context: events.timers((context,)) for context in hosted()}

    def turn(self) -> int:
        """Once all that the engine's threads do. Returns how much was claimed."""
        self._let_time_pass("inventory", "payments")
        done = self._work()
        self._let_time_pass("orders", "notifications")
        return done + self._work()

    def _let_time_pass(self, *contexts: str) -> None:
        for timer in (timer for context in contexts for timer in self.timers.get(context, ())):
            self.engine._survive(lambda _, run=timer.run: run(), timer.name)

    def _work(self) -> int:
        return sum(self.engine._survive(work, c) for c in hosted() for work in (relay.deliver_due, inbox.handle_due))

    def settle(self, purchase: Purchase, patience: float = PATIENCE) -> bool:
        """Go on until nothing of the purchase is left to do. Whether it came to that within `patience` seconds."""
        if purchase.way.hold < PATIENCE:
            time.sleep(purchase.way.hold)  # else it is chance who notices first that the time is over
        deadline = time.monotonic() + patience
        while True:
            if not self.turn():
                close_old_connections()
                if (rest := bool(at_rest([purchase.email]))) or time.monotonic() > deadline:
                    return rest
