"""Model of the checkout saga: everything that may happen to an order, step by step. See `checkout_state`."""

from collections.abc import Iterator
from typing import TypeAlias

from tests.models.checkout_state import (
    ENDED_STEPS,
    FORWARD_STEPS,
    MONEY_TAKEN,
    START,
    STOCK_TAKEN,
    Call,
    Guards,
    Message,
    PaymentState,
    Reply,
    Role,
    Sender,
    State,
    Status,
    Step,
    Work,
    is_settled,
    violation,
)
from tests.models.explorer import Model

Steps: TypeAlias = Iterator[tuple[str, State]]

NAMES: dict[Role, str] = {"holder": "the lease holder", "overtaken": "the overtaken worker"}

# What the lease holder writes after a reply: the next step, and the status if it changes.
OUTCOMES: dict[tuple[Call, Reply], tuple[Step, Status | None]] = {
    ("reserve", "ok"): ("authorizing", None),
    ("reserve", "out_of_stock"): ("undo_stock", "rejected"),
    ("reserve", "closed"): ("undo_stock", "rejected"),
    ("authorize", "ok"): ("confirming", None),
    ("authorize", "declined"): ("undo_stock", "rejected"),
    ("authorize", "closed"): ("undo_money", "rejected"),
    ("capture", "ok"): ("done", None),
    ("capture", "closed"): ("undo_money", "cancelled"),
    ("cancel_payment", "ok"): ("undo_stock", None),
    ("void", "ok"): ("undo_stock", None),
    ("release", "ok"): ("closed", None),
}


def steps(state: State, guards: Guards) -> Steps:
    """Yield everything that may happen next."""
    yield from lease_steps(state, guards)
    for role in NAMES:
        yield from worker_steps(state, role, guards)
    for message in state.messages:
        yield from message_steps(state, message, guards)
    yield from event_steps(state)
    yield from customer_steps(state, guards)
    yield from reservation_steps(state, guards)


# The lease.


def lease_steps(state: State, guards: Guards) -> Steps:
    """Let an idle worker take the lease, even if the other one holds it: a lease may run out at any time."""
    if state.step == "done" and state.cancel_requested and state.status == "confirmed":
        yield "the flag reopens the finished order", state._replace(status="cancelled", step="undo_money")
    if state.step in ENDED_STEPS or (state.holder and state.overtaken):
        return
    taken = undo_if_cancelled_or_due(overtake_holder(state), guards)
    if taken.step == "closed":
        yield "a worker takes the lease and closes the order", taken
    else:
        work = Work("starting", call_of_step(taken.step, guards))
        yield f"a worker takes the lease at {taken.step}", taken._replace(holder=work)


def overtake_holder(state: State) -> State:
    """Take the lease away from its holder, which does not notice and continues."""
    if state.holder is None:
        return state
    return state._replace(
        holder=None, overtaken=state.holder, messages=rename_sender(state.messages, "holder", "overtaken")
    )


def rename_sender(messages: tuple[Message, ...], before: Role, after: Sender) -> tuple[Message, ...]:
    """Return the messages with another sender instead of one of them."""
    if not messages:
        return messages
    return tuple(
        sorted({message._replace(sender=after) if message.sender == before else message for message in messages})
    )


def undo_if_cancelled_or_due(state: State, guards: Guards) -> State:
    """Start the undo if the customer has cancelled or the time to pay is over."""
    if state.step not in FORWARD_STEPS:
        return state
    if state.cancel_requested:
        return state._replace(status="cancelled", step=first_undo_step(state.step, guards))
    if state.is_due and state.status == "pending" and state.step != "confirming":
        return state._replace(status="rejected", step=first_undo_step(state.step, guards))
    return state


def first_undo_step(step: Step, guards: Guards) -> Step:
    """Return the step where undo starts. The call of the stored step may have happened, so it is undone too."""
    if step == "reserving":
        return "undo_stock" if guards.undo_tried else "closed"
    if step == "authorizing":
        return "undo_money" if guards.undo_tried else "undo_stock"
    return "undo_money"


def call_of_step(step: Step, guards: Guards) -> Call:
    """Return the call that carries out a step."""
    calls: dict[Step, Call] = {
        "reserving": "reserve",
        "authorizing": "authorize",
        "confirming": "confirm",
        "capturing": "capture",
        "undo_money": "cancel_payment" if guards.one_undo else "void",
        "undo_stock": "release",
    }
    return calls[step]


# The workers.


def worker_steps(state: State, role: Role, guards: Guards) -> Steps:
    """Make the call, wait for the reply, write the outcome; or crash at any moment."""
    work = state.holder if role == "holder" else state.overtaken
    if work is None:
        return
    name = NAMES[role]
    yield f"{name} crashes ({work.call})", stop(state, role)
    if work.phase == "starting" and work.call == "confirm":
        yield from confirm_steps(state, role, guards)
    elif work.phase == "starting":
        yield f"{name} sends {work.call}", send(state, role, work.call)
    elif work.phase == "answered":
        yield f"{name} writes {work.call}: {work.reply}", write_outcome(state, role, work, guards)
    elif work.call == "cancel_payment" and not guards.free_after_money:
        unsettled = Work("answered", work.call, "ok")
        yield f"{name} does not wait for the payment", write_outcome(state, role, unsettled, guards)


def stop(state: State, role: Role) -> State:
    """Make a worker idle. Its requests may still arrive; their replies are lost."""
    messages = rename_sender(state.messages, role, "none")
    if role == "holder":
        return state._replace(holder=None, messages=messages)
    return state._replace(overtaken=None, messages=messages)


def set_work(state: State, role: Role, work: Work) -> State:
    """Return the state with another work of one worker."""
    return state._replace(holder=work) if role == "holder" else state._replace(overtaken=work)


def send(state: State, role: Role, call: Call) -> State:
    """Put a request into the network."""
    messages = tuple(sorted({*state.messages, Message(call, role)}))
    return set_work(state, role, Work("waiting", call))._replace(messages=messages)


def confirm_steps(state: State, role: Role, guards: Guards) -> Steps:
    """Confirm the order, a local write, unless the lease was lost or a cancel was requested."""
    if guards.fence and role == "overtaken":
        yield f"{NAMES[role]} may not confirm", stop(state, role)
    elif guards.cancel_flag and state.cancel_requested:
        yield f"{NAMES[role]} sees the cancel and does not confirm", stop(state, role)
    else:
        confirmed = stop(state, role)._replace(status="confirmed", step="capturing", stock_event="published")
        yield f"{NAMES[role]} confirms the order", confirmed


def write_outcome(state: State, role: Role, work: Work, guards: Guards) -> State:
    """Write what a reply means for the order, in one local transaction."""
    idle = stop(state, role)
    if guards.fence and role == "overtaken":
        return idle
    if work.reply == "refused":  # a captured payment cannot be voided
        return idle
    step, status = OUTCOMES[work.call, work.reply]
    return idle._replace(step=step, status=status or idle.status)


# The network, inventory and payments.


def message_steps(state: State, message: Message, guards: Guards) -> Steps:
    """Lose a request, or let the callee carry it out; then lose the reply, or deliver it to a sender that waits."""
    taken = state._replace(messages=tuple(other for other in state.messages if other != message))
    call, sender = message
    yield f"the request {call} is lost", taken
    for after, reply in carry_out(taken, call, guards):
        yield f"{call} is carried out ({reply}), the reply is lost", after
        if sender != "none" and is_waiting(after, sender, call):
            yield f"{call} is carried out ({reply})", set_work(after, sender, Work("answered", call, reply))


def is_waiting(state: State, role: Role, call: Call) -> bool:
    """Return whether a worker waits for the reply to this call."""
    work = state.holder if role == "holder" else state.overtaken
    return work is not None and work.phase == "waiting" and work.call == call


def carry_out(state: State, call: Call, guards: Guards) -> list[tuple[State, Reply]]:
    """Return the possible states after the call, each with the reply of the callee."""
    if call == "reserve":
        return [reserve(state)]
    if call == "release":
        return [release(state, guards)]
    return [(state._replace(payment=payment), reply) for payment, reply in pay(state.payment, call, guards)]


def reserve(state: State) -> tuple[State, Reply]:
    """Hold the unit, or answer with the recorded outcome."""
    if state.reservation == "none" and state.rival_has_unit:
        return state._replace(reservation="refused"), "out_of_stock"
    if state.reservation == "none":
        return state._replace(reservation="held"), "ok"
    if state.reservation in STOCK_TAKEN:
        return state, "ok"
    return state, "out_of_stock" if state.reservation == "refused" else "closed"


def release(state: State, guards: Guards) -> tuple[State, Reply]:
    """Free the unit. If the order id was never seen, leave a tombstone."""
    if state.reservation == "none":
        return state._replace(reservation="tombstone" if guards.tombstone else "none"), "ok"
    if state.reservation in ("held", "committed", "expired"):
        return state._replace(reservation="released"), "ok"
    return state, "ok"


def pay(payment: PaymentState, call: Call, guards: Guards) -> list[tuple[PaymentState, Reply]]:
    """Return the possible states of the payment after a request, each with the reply."""
    if call == "authorize":
        return authorize(payment)
    if call == "capture":
        if payment == "authorized":
            return [("captured", "ok")]
        return [(payment, "ok" if payment == "captured" else "closed")]
    if call == "void" and payment == "captured":
        return [(payment, "refused")]
    return [(undo_payment(payment, guards), "ok")]


def authorize(payment: PaymentState) -> list[tuple[PaymentState, Reply]]:
    """Authorize or decline, or answer with the recorded outcome."""
    if payment == "none":
        return [("authorized", "ok"), ("declined", "declined")]
    if payment in MONEY_TAKEN:
        return [(payment, "ok")]
    return [(payment, "declined" if payment == "declined" else "closed")]


def undo_payment(payment: PaymentState, guards: Guards) -> PaymentState:
    """Void, refund or leave a tombstone, depending on the state of the payment."""
    undone: dict[PaymentState, PaymentState] = {
        "none": "tombstone" if guards.tombstone else "none",
        "authorized": "voided",
        "captured": "refunded",
    }
    return undone.get(payment, payment)


# Everything else that happens.


def event_steps(state: State) -> Steps:
    """Deliver OrderConfirmed to inventory."""
    if state.stock_event != "published":
        return
    if state.reservation == "held":
        yield "inventory commits the stock", state._replace(reservation="committed", stock_event="handled")
    elif state.reservation in ("released", "tombstone"):
        yield "inventory ignores the commit, the order was undone", state._replace(stock_event="handled")
    elif state.reservation != "committed":
        yield "inventory cannot commit the stock", state._replace(stock_event="failed")


def customer_steps(state: State, guards: Guards) -> Steps:
    """Let the customer cancel the order, and a rival buy the unit if it is free."""
    if state.may_cancel and state.status in ("pending", "confirmed"):
        asked = state._replace(cancel_requested=True, may_cancel=False)
        if guards.cancel_flag:
            yield "the customer requests a cancel", asked
        else:
            step = first_undo_step(state.step, guards) if state.step in FORWARD_STEPS else "undo_money"
            yield "the customer's request writes the status itself", asked._replace(status="cancelled", step=step)
    if not state.rival_has_unit and state.reservation not in STOCK_TAKEN:
        yield "a rival buys the unit", state._replace(rival_has_unit=True)


def reservation_steps(state: State, guards: Guards) -> Steps:
    """Let the hold of the reservation end."""
    if not (state.may_become_due and state.reservation == "held"):
        return
    ended = state._replace(may_become_due=False)
    if guards.saga_owns_expiry:
        yield "inventory announces that the reservation is due", ended._replace(is_due=True)
    else:
        yield "inventory frees the due reservation by itself", ended._replace(reservation="expired")


MODEL = Model("checkout", START, Guards(), steps, violation, is_settled)
