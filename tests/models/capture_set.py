"""Model of a set of captures: two confirmed orders, the worker of the set, the sweeper, and a customer who cancels.

The worker of the set claims both orders, captures one payment after the other, and writes what it has learned. Between any two
of these steps it may die, its leases may run out, the sweeper may take an order over, and the customer may cancel one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from tests.models.explorer import Model


class Order(NamedTuple):
    """One order with its payment."""

    step: Literal["capturing", "done", "cancelled"] = "capturing"
    is_due: bool = True
    lease: Literal["none", "set", "expired"] = "none"
    is_of_set: bool = False  # the attempt is still that of the set
    is_fresh: bool = True  # it was in no set yet
    is_woken: bool = False
    is_cancel_requested: bool = False
    payment: Literal["authorized", "captured", "voided", "refunded"] = "authorized"


class SetMember(NamedTuple):
    """One order, as the worker of the set knows it."""

    is_mine: bool = False
    is_called: bool = False
    is_captured: bool = False


class State(NamedTuple):
    """Two orders, and the worker of a set."""

    orders: tuple[Order, Order] = (Order(), Order())
    members: tuple[SetMember, SetMember] = (SetMember(), SetMember())
    may_cancel: bool = True


@dataclass(frozen=True)
class Guards:
    """The rules of sets (docs/protocol.md, 3.10). Each can be switched off alone."""

    fence: bool = True  # the set writes nothing to an order that another worker has taken over
    wake_up: bool = True  # nor to one that was woken meanwhile
    capturable: bool = True  # a capture begins only if the payment is authorized


Steps: TypeAlias = Iterator[tuple[str, State]]


def steps(state: State, guards: Guards) -> Steps:
    """Yield everything that may happen next."""
    yield from set_steps(state, guards)
    for index, order in enumerate(state.orders):
        yield from order_steps(state, index, order)
    if state.may_cancel:
        order = state.orders[0]
        asked = order._replace(is_cancel_requested=True, is_due=True, is_woken=True)
        yield "the customer cancels the first order", set_order(state, 0, asked)._replace(may_cancel=False)


def set_steps(state: State, guards: Guards) -> Steps:
    """Let the worker of the set claim, call the provider, write, or die."""
    members = state.members
    if not any(member.is_mine for member in members):
        claimed = [is_claimable(order) for order in state.orders]
        if any(claimed):
            yield "the set claims what is due", claim(state, claimed)
        return
    yield "the worker of the set dies", state._replace(members=(SetMember(), SetMember()))
    for index, member in enumerate(members):
        if member.is_mine and not member.is_called:
            yield from call_steps(state, index, guards)
            return
    yield "the set writes", write(state, guards)


def is_claimable(order: Order) -> bool:
    """Return whether the next set takes an order."""
    return order.is_due and order.is_fresh and order.lease == "none" and not order.is_cancel_requested


def claim(state: State, claimed: list[bool]) -> State:
    """Take the leases of the orders that are due."""
    for index, is_claimed in enumerate(claimed):
        if is_claimed:
            taken = state.orders[index]._replace(lease="set", is_of_set=True, is_fresh=False, is_woken=False)
            state = set_member(set_order(state, index, taken), index, SetMember(is_mine=True))
    return state


def call_steps(state: State, index: int, guards: Guards) -> Steps:
    """Capture one payment of the set, with or without a response."""
    order, member = state.orders[index], state.members[index]._replace(is_called=True)
    yield f"the capture of order {index} does not start", set_member(state, index, member)
    if order.payment == "authorized" or not guards.capturable:
        captured = set_order(state, index, order._replace(payment="captured"))
        yield f"order {index} is captured, without a response", set_member(captured, index, member)
        yield f"order {index} is captured", set_member(captured, index, member._replace(is_captured=True))


def write(state: State, guards: Guards) -> State:
    """Mark as paid what was captured, and release the rest."""
    for index, member in enumerate(state.members):
        order = state.orders[index]
        can_write = order.is_of_set or not guards.fence
        if member.is_captured and can_write and not (order.is_woken and guards.wake_up):
            order = order._replace(step="done", is_due=False, lease="none", is_of_set=False)
        elif member.is_mine and order.is_of_set:
            order = order._replace(lease="none", is_due=True, is_of_set=False)
        state = set_order(state, index, order)
    return state._replace(members=(SetMember(), SetMember()))


def order_steps(state: State, index: int, order: Order) -> Steps:
    """Let a lease run out, or the sweeper finish one order alone."""
    if order.lease == "set":
        yield f"the lease of order {index} runs out", set_order(state, index, order._replace(lease="expired"))
    elif order.is_due:
        finished = cancel(order) if order.is_cancel_requested else order._replace(step="done", payment="captured")
        alone = finished._replace(is_due=False, lease="none", is_of_set=False, is_woken=False, is_fresh=False)
        yield f"the sweeper takes order {index}", set_order(state, index, alone)


def cancel(order: Order) -> Order:
    """Undo the payment, and end the order."""
    return order._replace(step="cancelled", payment="voided" if order.payment == "authorized" else "refunded")


def set_order(state: State, index: int, order: Order) -> State:
    first, second = state.orders
    return state._replace(orders=(first, order) if index else (order, second))


def set_member(state: State, index: int, member: SetMember) -> State:
    first, second = state.members
    return state._replace(members=(first, member) if index else (member, second))


def violation(state: State) -> str:
    """Return what is wrong with a state, or an empty text."""
    for order in state.orders:
        if order.step == "cancelled" and order.payment not in ("voided", "refunded"):
            return "the order is cancelled, the money is taken"
        if order.step == "done" and order.payment != "captured":
            return "the order is paid, the money is not taken"
    return ""


def is_settled(state: State) -> bool:
    """Return whether both orders have ended as their customers want."""
    ended = ("cancelled" if order.is_cancel_requested else "done" for order in state.orders)
    is_ended = all(order.step == end and not order.is_due for order, end in zip(state.orders, ended, strict=True))
    return is_ended and not any(member.is_mine for member in state.members)


MODEL = Model("capture_set", State(), Guards(), steps, violation, is_settled)
