"""Flows of a purchase through the shop, with the final states that each may have, whatever fault happens in it."""

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace

import psycopg
from django.db import close_old_connections

from shop import chaos
from shop.db.database import hosted_contexts
from shop.messaging import engine, events, handling, relay
from tests.chaos.expiry import expire
from tests.chaos.final_states import FinalState, find_finished
from tests.chaos.row_locks import connection_parameters
from tests.context_map import list_callers_first
from tests.shopper import InProcessShopper, Response

STOCK = 2  # units of each purchase's own SKU
FLOW_TIMEOUT_SECONDS = 90.0  # for a flow without a fault
MAX_FLOW_TIMER_SECONDS = 5.0  # timers with a longer interval belong to no purchase

SOLD = FinalState("confirmed", "done", "captured", 1, 1, 0, 1, "committed", -1, ("order_confirmed",))
CONFIRMED_AND_CANCELLED_MAILS = ("order_cancelled", "order_confirmed")
CANCELLED = FinalState("cancelled", "closed", "refunded", 1, 1, 1, 0, "released", 0, CONFIRMED_AND_CANCELLED_MAILS)
SOLD_AND_CANCELLED = replace(CANCELLED, reservation="restocked")
# The order was cancelled before its set, or the money could not be captured then.
BEFORE_CAPTURE = {"payment": "voided", "captured": 0, "refunded": 0}
CANCELLED_UNPAID, SOLD_AND_CANCELLED_UNPAID = (
    replace(one, **BEFORE_CAPTURE) for one in (CANCELLED, SOLD_AND_CANCELLED)
)
# The provider refuses the refund: the order ends, and the money is a task for staff.
OWED, SOLD_AND_OWED = (
    replace(one, payment="captured", refunded=0, booked=1) for one in (CANCELLED, SOLD_AND_CANCELLED)
)
REJECTED = FinalState("rejected", "closed", reservation="released", mails=("order_rejected",))
REFUSED_AT_ONCE = replace(REJECTED, reservation=None, mails=())
NEVER_RESERVED, DECLINED, VOIDED = (
    replace(REJECTED, **what) for what in ({"reservation": "refused"}, {"payment": "declined"}, {"payment": "voided"})
)
# A refusal that is the response to the customer's request causes no mail; one that another worker decides causes one.
ANSWERED_NEVER_RESERVED, ANSWERED_DECLINED, ANSWERED_VOIDED, ANSWERED_REJECTED = (
    replace(one, mails=()) for one in (NEVER_RESERVED, DECLINED, VOIDED, REJECTED)
)
POINTS_AFTER_QUOTE = ("call.inventory.quote.after", "wire.inventory.quote.after")  # in this process, or in another one


@dataclass(frozen=True)
class Flow:
    """The requests of a customer, their responses, and the final states of the order."""

    name: str
    token: str
    answers: tuple[int, ...]  # the status of each request, once the order is final
    final_states: tuple[FinalState, ...]  # one of these; a cancel without a fault ends in the first one
    quantity: int = 1
    expires: bool = False  # the time to pay ends while the order waits
    loses_a_unit: bool = False  # one unit is removed between quote and reservation
    is_captured_first: bool = True  # before the customer cancels


FLOWS = {
    flow.name: flow
    for flow in (
        Flow("buy", "tok_ok", (201,), (SOLD,)),
        Flow("decline", "tok_declined", (402,), (ANSWERED_DECLINED, DECLINED)),
        Flow("out_of_stock", "tok_ok", (409,), (REFUSED_AT_ONCE,), quantity=STOCK + 1),
        Flow(
            "sold_out_meanwhile",
            "tok_ok",
            (409,),
            (ANSWERED_NEVER_RESERVED, NEVER_RESERVED, REFUSED_AT_ONCE),
            quantity=STOCK,
            loses_a_unit=True,
        ),
        Flow(
            "cancel", "tok_ok", (201, 200), (CANCELLED, SOLD_AND_CANCELLED, CANCELLED_UNPAID, SOLD_AND_CANCELLED_UNPAID)
        ),
        Flow(
            "cancel_before_capture",
            "tok_ok",
            (201, 200),
            (CANCELLED_UNPAID, SOLD_AND_CANCELLED_UNPAID, CANCELLED, SOLD_AND_CANCELLED),
            is_captured_first=False,
        ),
        Flow(
            "refused_refund",
            "tok_refund_refused",
            (201, 200),
            (OWED, SOLD_AND_OWED, CANCELLED_UNPAID, SOLD_AND_CANCELLED_UNPAID),
        ),
        Flow("timeout", "tok_timeout_then_ok", (201,), (SOLD,)),
        Flow(
            "expiry",
            "tok_requires_action",
            (409,),
            (VOIDED, REJECTED, ANSWERED_VOIDED, ANSWERED_REJECTED),
            expires=True,
        ),
    )
}


@dataclass(frozen=True)
class Purchase:
    """One customer in one flow, with a SKU, an email address and an idempotency key of their own."""

    flow: str
    sku: str
    email: str
    key: str

    @classmethod
    def of(cls, flow: str, sku: str) -> "Purchase":
        return cls(flow, sku, f"{uuid.uuid4().hex}@example.com", uuid.uuid4().hex)

    @property
    def definition(self) -> Flow:
        return FLOWS[self.flow]


def send_requests(purchase: Purchase) -> list[int]:
    """Send the requests of the customer, each once, and return the statuses of the responses."""
    flow, shopper = purchase.definition, InProcessShopper()
    placed = _place(shopper, purchase)
    if len(flow.answers) == 1 or placed.status != flow.answers[0]:
        return [placed.status]
    if flow.is_captured_first:
        close_old_connections()
        SteppedEngine().capture()
    return [placed.status, _cancel(shopper, placed).status]


def _place(shopper: InProcessShopper, purchase: Purchase) -> Response:
    close_old_connections()  # as between any two requests
    items = [{"sku": purchase.sku, "quantity": purchase.definition.quantity}]
    with _removing_a_unit_after_quote(purchase) if purchase.definition.loses_a_unit else nullcontext():
        return shopper.order(token=purchase.definition.token, key=purchase.key, email=purchase.email, items=items)


@contextmanager
def _removing_a_unit_after_quote(purchase: Purchase) -> Iterator[None]:
    """Remove one unit once the stock has been quoted, on a connection in which no fault is injected."""
    original = chaos.on_point_reached

    def remove_unit(point: str) -> None:
        if point in POINTS_AFTER_QUOTE:
            with psycopg.connect(**connection_parameters("inventory"), autocommit=True) as connection:
                connection.execute(REMOVE_UNIT_SQL, [purchase.sku, STOCK])
        if original:
            original(point)

    chaos.on_point_reached = remove_unit
    try:
        yield
    finally:
        chaos.on_point_reached = original


REMOVE_UNIT_SQL = (
    "UPDATE inventory_stock SET on_hand = on_hand - 1, initial = initial - 1 WHERE sku = %s AND on_hand = %s"
)


def _cancel(shopper: InProcessShopper, placed: Response) -> Response:
    close_old_connections()
    return shopper.post(f"orders/{placed.body['id']}/cancel", X_Order_Token=placed.body["token"])


class SteppedEngine:
    """Run the engine step by step in one thread, so that it reaches the same points in every run."""

    def __init__(self) -> None:
        self.engine = engine.Engine()
        self.engine.stopping.set()  # it does not pause after an outage
        # Notifications last: it then sends the mails of a purchase one by one, which reaches the most fault points.
        notifications, *others = list_callers_first()
        self.contexts = [context for context in (*others, notifications) if context in hosted_contexts()]
        # Others would run in each round, as often as the machine is slow, and reach points as often.
        self.timers = {
            context: [
                timer for timer in events.list_timers((context,)) if timer.interval_seconds <= MAX_FLOW_TIMER_SECONDS
            ]
            for context in self.contexts
        }

    def capture(self) -> None:
        """Let orders capture what was confirmed. After a fault it may be left to another process."""
        self._run_timers("orders")

    def run_once(self) -> int:
        """Do once what the threads of the engine do, and return how many rows were claimed."""
        self._run_timers("inventory", "payments")
        done = self._work()
        self._run_timers("orders", "notifications")
        return done + self._work()

    def _run_timers(self, *contexts: str) -> None:
        for timer in (timer for context in contexts for timer in self.timers.get(context, ())):
            self.engine._run_timer(timer)

    def _work(self) -> int:
        return sum(
            self.engine._run_safely(work, context)
            for context in self.contexts
            for work in (relay.deliver_due, handling.handle_due)
        )

    def run_until_finished(self, purchase: Purchase, timeout: float = FLOW_TIMEOUT_SECONDS) -> bool:
        """Run the engine until no work is left for the purchase. Return whether that was so within `timeout` seconds."""
        if purchase.definition.expires:  # in all contexts at once: otherwise chance decides which one notices it first
            expire([purchase.email])
        deadline = time.monotonic() + timeout
        while True:
            if not self.run_once():
                close_old_connections()
                if (is_finished := bool(find_finished([purchase.email]))) or time.monotonic() > deadline:
                    return is_finished
