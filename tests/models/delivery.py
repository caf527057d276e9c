"""Model of event delivery: two events of one stream, from the outbox to two handlers.

Two transactions change the same aggregate and publish one event each. Two relays hand the events over; the claim of a
relay may expire at any time, so both may work on the same delivery. The network delays, loses and repeats. The subscriber
starts on an old release that has no handler for the event, and is deployed at some moment. An event that it has refused for
long is parked: the stream goes on without it, until staff replay or discard it. The inbox stores one row per handler, and
may store it as handled with the effect of the handler; otherwise the handler runs once per row later. Old rows are purged.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias, TypeVar

from tests.models.explorer import Model

EVENTS = (0, 1)  # event n is published by transaction n
REFUSED_EVENT = 0  # the old release has no handler for it; the model is symmetric, so one such event is enough
RELAYS = (0, 1)
HANDLERS = (0, 1)
ARRIVALS = ((), (0,), (1,), (0, 1))  # the handlers that handle an event in the transaction that stores its rows

TransactionState = Literal["new", "open", "committed"]
DeliveryState = Literal["none", "due", "acknowledged", "parked", "discarded"]
RowState = Literal["none", "stored", "handled", "purged"]

T = TypeVar("T")
Pair: TypeAlias = tuple[T, T]


@dataclass(frozen=True)
class Guards:
    """The rules of delivery (docs/protocol.md, section 2). Each can be switched off alone."""

    key_lock: bool = True  # the row lock of the aggregate is held from taking the sequence until the commit
    prefix: bool = True  # a delivery waits for the earlier ones of its stream
    handler_order: bool = True  # an inbox row waits for the earlier ones of its handler and stream
    refuse_unknown: bool = True  # a release without a handler refuses the event
    inbox_atomic: bool = True  # the rows of all handlers are stored before the event is acknowledged
    inbox_unique: bool = True  # an event that is delivered again adds no second row
    arrival_order: bool = True  # an event is handled on arrival only if no other one of its handler and stream waits
    arrival_atomic: bool = True  # a row is stored as handled in the transaction of the effect
    purge_after_ack: bool = True  # a row is kept while a copy of its event may still arrive
    park_refused: bool = True  # an event is parked only if the subscriber has refused it
    discard_parked: bool = True  # an event is discarded only while it is parked


class Claim(NamedTuple):
    """A delivery that a relay is working on."""

    event: int
    phase: Literal["claimed", "sent", "acknowledged"]


class State(NamedTuple):
    """The publisher, the relays, the network and the subscriber at one moment."""

    transactions: Pair[TransactionState]
    sequences: Pair[int]
    commit_order: tuple[int, ...]
    deliveries: Pair[DeliveryState]
    relays: Pair[Claim | None]
    network: frozenset[int]  # events of which a copy is in flight
    inbox: Pair[Pair[RowState]]  # by event, then by handler
    handled: Pair[tuple[int, ...]]  # by handler: the events whose effect has happened, in order
    is_old_release: bool
    is_refused: bool  # whether the subscriber has refused REFUSED_EVENT
    was_parked: bool  # whether REFUSED_EVENT was parked, and so has lost its place in the stream


Steps: TypeAlias = Iterator[tuple[str, State]]
NO_ROWS: Pair[RowState] = ("none", "none")

START = State(
    transactions=("new", "new"),
    sequences=(0, 0),
    commit_order=(),
    deliveries=("none", "none"),
    relays=(None, None),
    network=frozenset(),
    inbox=(NO_ROWS, NO_ROWS),
    handled=((), ()),
    is_old_release=True,
    is_refused=False,
    was_parked=False,
)


def put(pair: Pair[T], index: int, value: T) -> Pair[T]:
    """Return the pair with one of its two values replaced."""
    return (value, pair[1]) if index == 0 else (pair[0], value)


def steps(state: State, guards: Guards) -> Steps:
    """Yield everything that may happen next."""
    for event in EVENTS:
        yield from transaction_steps(state, event, guards)
    for relay in RELAYS:
        yield from relay_steps(state, relay, guards)
    for event in sorted(state.network):
        yield from network_steps(state, event, guards)
    if state.is_old_release:
        yield "the subscriber is deployed with the new release", state._replace(is_old_release=False)
    for event in EVENTS:
        yield from handler_steps(state, event, guards)
        yield from purge_steps(state, event, guards)
    yield from parking_steps(state, guards)


def transaction_steps(state: State, event: int, guards: Guards) -> Steps:
    """Take the next sequence of the stream, then commit."""
    if state.transactions[event] == "new" and not (guards.key_lock and "open" in state.transactions):
        sequence = max(state.sequences) + 1
        yield (
            f"transaction {event} takes sequence {sequence}",
            state._replace(
                transactions=put(state.transactions, event, "open"), sequences=put(state.sequences, event, sequence)
            ),
        )
    elif state.transactions[event] == "open":
        yield (
            f"transaction {event} commits sequence {state.sequences[event]}",
            state._replace(
                transactions=put(state.transactions, event, "committed"),
                commit_order=(*state.commit_order, event),
                deliveries=put(state.deliveries, event, "due"),
            ),
        )


def relay_steps(state: State, relay: int, guards: Guards) -> Steps:
    """Claim a delivery, send it, record the acknowledgement; or die, or lose the reply, at any moment."""
    claim = state.relays[relay]
    if claim is None:
        for event in EVENTS:
            if can_be_claimed(state, event, guards):
                yield f"relay {relay} claims event {event}", set_claim(state, relay, Claim(event, "claimed"))
        return
    yield f"relay {relay} dies, or loses the reply", set_claim(state, relay, None)
    if claim.phase == "claimed":
        sent = set_claim(state, relay, Claim(claim.event, "sent"))
        yield f"relay {relay} sends event {claim.event}", sent._replace(network=state.network | {claim.event})
    elif claim.phase == "acknowledged" and state.deliveries[claim.event] != "discarded":
        deliveries = put(state.deliveries, claim.event, "acknowledged")
        yield (
            f"relay {relay} records that event {claim.event} is acknowledged",
            set_claim(state, relay, None)._replace(deliveries=deliveries),
        )


def can_be_claimed(state: State, event: int, guards: Guards) -> bool:
    """Return whether a delivery is due. An expired claim does not prevent a second one."""
    other = 1 - event
    is_blocked = state.deliveries[other] == "due" and state.sequences[other] < state.sequences[event]
    return state.deliveries[event] == "due" and not (guards.prefix and is_blocked)


def set_claim(state: State, relay: int, claim: Claim | None) -> State:
    """Return the state with another claim of one relay."""
    return state._replace(relays=put(state.relays, relay, claim))


def network_steps(state: State, event: int, guards: Guards) -> Steps:
    """Deliver a copy of an event; another copy may stay in flight and arrive later."""
    without = state._replace(network=state.network - {event})
    is_first_copy = state.inbox[event] == NO_ROWS
    for arrived in (without, state) if is_first_copy else (without,):
        if arrived.is_old_release:
            yield from old_release_steps(arrived, event, guards)
        else:
            yield from inbox_steps(arrived, event, guards)


def old_release_steps(state: State, event: int, guards: Guards) -> Steps:
    """Meet an event for which this release has no handler."""
    if guards.refuse_unknown:
        yield (
            f"the old release refuses event {event}",
            state._replace(is_refused=state.is_refused or event == REFUSED_EVENT),
        )
    else:
        yield from acknowledgements(state, event, f"the old release acknowledges event {event} without a handler")


def inbox_steps(state: State, event: int, guards: Guards) -> Steps:
    """Store one row per handler, handled at once or not, then acknowledge; the acknowledgement may be lost."""
    for at_once in ARRIVALS:
        if not all(can_be_handled_on_arrival(state, event, handler, guards) for handler in at_once):
            continue
        what = f"the inbox stores event {event}{describe_arrival(at_once)}"
        stored = store(state, event, at_once, guards)
        yield f"{what}; the acknowledgement is lost", stored
        yield from acknowledgements(stored, event, f"{what} and acknowledges it")
        if at_once and not guards.arrival_atomic:
            yield f"{what}, but dies before the effect", stored._replace(handled=state.handled)
    if not guards.inbox_atomic:
        rows = (row_after_delivery(state.inbox[event][0], guards), state.inbox[event][1])
        half = state._replace(inbox=put(state.inbox, event, rows))
        yield from acknowledgements(
            half, event, f"the inbox stores event {event} for handler 0 only and acknowledges it"
        )


def describe_arrival(at_once: tuple[int, ...]) -> str:
    """Return which handlers have handled an event on arrival."""
    return f" as handled by {' and '.join(map(str, at_once))}" if at_once else ""


def can_be_handled_on_arrival(state: State, event: int, handler: int, guards: Guards) -> bool:
    """Return whether a handler may run in the transaction that stores its row: for a new row, if no other one waits."""
    is_new = row_after_delivery(state.inbox[event][handler], guards) != state.inbox[event][handler]
    is_blocked = state.inbox[1 - event][handler] == "stored"
    return is_new and not (guards.arrival_order and is_blocked)


def store(state: State, event: int, at_once: tuple[int, ...], guards: Guards) -> State:
    """Store a row for each handler, and run some of them in the same transaction."""
    rows, handled = state.inbox[event], state.handled
    for handler in HANDLERS:
        if handler in at_once:
            rows = put(rows, handler, "handled")
            handled = put(handled, handler, (*handled[handler], event))
        else:
            rows = put(rows, handler, row_after_delivery(rows[handler], guards))
    return state._replace(inbox=put(state.inbox, event, rows), handled=handled)


def row_after_delivery(row: RowState, guards: Guards) -> RowState:
    """Return a handler's row after its event arrived. After a purge, nothing is left to recognise a copy by."""
    is_forgotten = row in ("none", "purged") or (row == "handled" and not guards.inbox_unique)
    return "stored" if is_forgotten else row


def acknowledgements(state: State, event: int, label: str) -> Steps:
    """Answer each relay that waits for a reply about this event."""
    for relay in RELAYS:
        if state.relays[relay] == Claim(event, "sent"):
            yield f"{label}, relay {relay} receives that", set_claim(state, relay, Claim(event, "acknowledged"))


def handler_steps(state: State, event: int, guards: Guards) -> Steps:
    """Run a handler on its stored row: effect and row in one transaction."""
    other = 1 - event
    for handler in HANDLERS:
        is_blocked = state.inbox[other][handler] == "stored" and state.sequences[other] < state.sequences[event]
        if state.inbox[event][handler] == "stored" and not (guards.handler_order and is_blocked):
            yield (
                f"handler {handler} handles event {event}",
                state._replace(
                    inbox=put(state.inbox, event, put(state.inbox[event], handler, "handled")),
                    handled=put(state.handled, handler, (*state.handled[handler], event)),
                ),
            )


def purge_steps(state: State, event: int, guards: Guards) -> Steps:
    """Delete the rows of an event that every handler has handled."""
    is_claimed = any(claim is not None and claim.event == event for claim in state.relays)
    may_come_again = state.deliveries[event] != "acknowledged" or event in state.network or is_claimed
    if state.inbox[event] == ("handled", "handled") and not (guards.purge_after_ack and may_come_again):
        rows = put(state.inbox, event, ("purged", "purged"))
        yield f"the inbox purges the rows of event {event}", state._replace(inbox=rows)


def parking_steps(state: State, guards: Guards) -> Steps:
    """Park an event that was refused for long; staff replay or discard it."""
    delivery = state.deliveries[REFUSED_EVENT]
    if delivery == "due" and (state.is_refused or not guards.park_refused):
        parked = put(state.deliveries, REFUSED_EVENT, "parked")
        yield f"event {REFUSED_EVENT} is parked", state._replace(deliveries=parked, was_parked=True)
    if delivery == "parked":
        yield (
            f"staff replay event {REFUSED_EVENT}",
            state._replace(deliveries=put(state.deliveries, REFUSED_EVENT, "due")),
        )
    if delivery == "parked" or (delivery == "due" and not guards.discard_parked):
        discarded = put(state.deliveries, REFUSED_EVENT, "discarded")
        yield f"staff discard event {REFUSED_EVENT}", state._replace(deliveries=discarded)


def is_delivered(state: State) -> bool:
    """Return whether both events are acknowledged and nothing is in flight."""
    everything_acknowledged = set(state.deliveries) <= {"acknowledged", "discarded"}
    return everything_acknowledged and not state.network and state.relays == (None, None)


def violation(state: State) -> str:
    """Return what is wrong with the state, if anything."""
    if any(len(set(events)) < len(events) for events in state.handled):
        return "an effect happened twice"
    has_lost_its_place = state.was_parked and state.is_refused
    if not has_lost_its_place and any(len(events) == 2 and events != state.commit_order for events in state.handled):
        return "a handler saw the events out of commit order"
    for event in EVENTS:
        for handler in HANDLERS:
            if state.inbox[event][handler] in ("handled", "purged") and event not in state.handled[handler]:
                return "an event counts as handled, but has had no effect"
        if is_delivered(state) and state.deliveries[event] == "acknowledged" and "none" in state.inbox[event]:
            return "an acknowledged event has no inbox row"
    if state.deliveries[REFUSED_EVENT] == "discarded" and not state.was_parked:
        return "an event was discarded that was not parked"
    return ""


def is_settled(state: State) -> bool:
    """Return whether both events are delivered or discarded, and every handler has handled what was delivered."""
    delivered = {event for event in EVENTS if state.deliveries[event] == "acknowledged"}
    return is_delivered(state) and all(delivered <= set(events) for events in state.handled)


MODEL = Model("delivery", START, Guards(), steps, violation, is_settled)
