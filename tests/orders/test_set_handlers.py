"""A handler that takes many events at once has the effect that it has when it takes them one by one.

Every handler with `many` is tested here, with events that `EVENTS` draws for its class of events.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pytest
from django.conf import settings
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from contexts.inventory.service import reservations
from contexts.orders.events import OrderConfirmed
from shop.calls import tracing
from shop.db.database import fetch_rows, joinable_transaction
from shop.ids import readable_number, uuid7
from shop.messaging import events
from shop.messaging.events import Event, Handler, Received
from shop.money import Money
from tests.factories import create_sku, reserve_units

pytestmark = pytest.mark.usefixtures("verified")

SET_HANDLERS = [one for context in settings.ALL_CONTEXTS for one in events.list_handlers(context) if one.run_many]


class Group(NamedTuple):
    """Events that are handled one after the other: together by the set version, or one by one."""

    received: Sequence[Received[Any]]
    is_set: bool


class ConfirmedOrder(NamedTuple):
    """An order as it may be when its confirmation arrives."""

    quantities: Sequence[int]  # of each of some SKUs that all orders share
    reservation: str
    is_guest: bool


CONFIRMED_ORDERS = st.lists(
    st.builds(
        ConfirmedOrder,
        st.lists(st.integers(1, 2), min_size=1, max_size=3),
        st.sampled_from(["held", "held", "released", "committed"]),
        st.booleans(),
    ),
    min_size=2,
    max_size=5,
)


def confirm_orders(orders: Sequence[ConfirmedOrder]) -> list[Event]:
    """Reserve stock for the orders, and return the event of each."""
    skus, confirmed = [create_sku(20) for _ in range(3)], []
    for order in orders:
        order_id = reserve_units(*zip(skus, order.quantities, strict=False)).order_id
        {"held": lambda _: None, "released": reservations.release, "committed": reservations.commit}[order.reservation](
            order_id
        )
        user_id = None if order.is_guest else uuid7()
        total = Money(1999, "EUR")
        confirmed.append(OrderConfirmed(order_id=order_id, number=readable_number(), user_id=user_id, total=total))
    return confirmed


# For each event with such a handler: a strategy, and the function that makes events of what it draws.
EVENTS: dict[type[Event], tuple[st.SearchStrategy[Any], Callable[[Any], list[Event]]]] = {
    OrderConfirmed: (CONFIRMED_ORDERS, confirm_orders),
}


class Undone(Exception):
    """Ends a transaction whose effects have been read."""


def effects_of(handler: Handler, groups: Sequence[Group]) -> list[tuple[str, dict[str, Any]]]:
    """Handle the events, and return the rows that this has written in any table of the context. Nothing of it stays."""
    written: list[tuple[str, dict[str, Any]]] = []
    with pytest.raises(Undone), joinable_transaction(handler.context):
        for group in groups:
            run(handler, group)
        written += read_written_rows(handler.context)
        raise Undone
    return sorted(written, key=repr)


def run(handler: Handler, group: Group) -> None:
    if group.is_set:
        handler.run_many(group.received)
        return
    for event, trace in group.received:
        with tracing.use_trace(trace):
            handler.run(event)


def read_written_rows(context: str) -> list[tuple[str, dict[str, Any]]]:
    """Return what the open transaction has inserted or changed. Ids of new rows and times are only compared with NULL."""
    fetch_rows(context, "SELECT 1")  # sends deferred statements
    tables = fetch_rows(
        context, "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )
    sql = " UNION ALL ".join(
        f"SELECT '{table}', to_jsonb(one) FROM {table} one WHERE xmin = pg_current_xact_id()::xid"
        for (table,) in tables
    )
    return [
        (table, {name: hide(name, value) for name, value in json.loads(row).items()})
        for table, row in fetch_rows(context, sql)
    ]


def hide(column: str, value: object) -> object:
    is_new = column in ("id", "event_id", "message_id", "at") or column.endswith("_at")
    return value is not None if is_new else value


def receive(event: Event, number: int) -> Received[Event]:
    trace = tracing.Trace(
        correlation_id=f"correlation {number}", causation_id=f"event {number}", traceparent=f"00-{number}", hops=number
    )
    return Received(event, trace)


def split(data: st.DataObject, received: Sequence[Received[Any]]) -> list[Group]:
    """Draw an order of the events, and a split of it into sets and single events."""
    remaining, groups = data.draw(st.permutations(received)), []
    while remaining:
        size = data.draw(st.integers(1, len(remaining)))
        groups.append(Group(remaining[:size], is_set=data.draw(st.booleans())))
        remaining = remaining[size:]
    return groups


def test_some_handlers_take_many_events():
    assert {handler.name for handler in SET_HANDLERS} >= {"inventory.commit_reservation", "notifications.write_receipt"}


@pytest.mark.parametrize("handler", SET_HANDLERS, ids=lambda handler: f"{handler.name} {handler.event.name}")
@given(data=st.data())
@hypothesis_settings(
    max_examples=40,
    phases=[Phase.generate],  # shrinking would repeat the reservations of each example many times
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_split_into_sets_and_single_events_writes_the_same_rows(handler, data):
    strategy, make_events = EVENTS[handler.event]
    received = [receive(event, number) for number, event in enumerate(make_events(data.draw(strategy)))]
    one_by_one = effects_of(handler, [Group(received, is_set=False)])
    assert effects_of(handler, [Group(received, is_set=True)]) == one_by_one
    assert effects_of(handler, split(data, received)) == one_by_one


@pytest.mark.parametrize("handler", SET_HANDLERS, ids=lambda handler: f"{handler.name} {handler.event.name}")
def test_control_a_set_that_forgets_an_event_writes_other_rows(handler):
    orders = [ConfirmedOrder([1], "held", is_guest=False)] * 3
    received = [receive(event, number) for number, event in enumerate(confirm_orders(orders))]
    one_by_one = effects_of(handler, [Group(received, is_set=False)])
    assert len(one_by_one) >= 3
    assert effects_of(handler, [Group(received[1:], is_set=True)]) != one_by_one
