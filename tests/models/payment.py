"""Model of one payment and its provider, while two reconcilers look at it and the order may be cancelled.

The request to charge may arrive late, be lost or be repeated under the same key. A reconciler fetches the
payment's status from the provider and applies it later; meanwhile the other one may have done the same, or the order was
cancelled.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from tests.models.explorer import Model

Status = Literal["processing", "authorized", "declined", "voided"]
ProviderStatus = Literal["none", "authorized", "voided"]

FINAL: tuple[Status, ...] = ("declined", "voided")
RECONCILERS = (0, 1)


@dataclass(frozen=True)
class Guards:
    """The rules of payments (docs/protocol.md, section 4). Each can be switched off alone."""

    notfound_inconclusive: bool = True  # "not found" is no answer: the same charge is requested again
    version_guard: bool = True  # an answer is applied only if the payment has not changed since the question
    force_before_giveup: bool = True  # a payment is voided only after the provider has cancelled the intent


class Intent(NamedTuple):
    """The payment at the provider."""

    status: ProviderStatus
    is_closed: bool  # cancelled by its id before it arrived: the provider refuses to charge it


class Fetched(NamedTuple):
    """An answer of the provider, and the version that our payment had before the question."""

    intent: Intent
    version: int


class State(NamedTuple):
    """Our payment, the provider's intent, the network and the reconcilers at one moment."""

    status: Status
    version: int
    was_reopened: bool  # the payment was final and is not any more
    cancel_wanted: bool
    may_cancel: bool  # the saga has not cancelled yet
    intent: Intent
    requests: frozenset[Literal["charge", "cancel"]]
    reconcilers: tuple[Fetched | None, Fetched | None]


Steps: TypeAlias = Iterator[tuple[str, State]]

START = State(
    status="processing",
    version=0,
    was_reopened=False,
    cancel_wanted=False,
    may_cancel=True,
    intent=Intent("none", is_closed=False),
    requests=frozenset({"charge"}),
    reconcilers=(None, None),
)


def steps(state: State, guards: Guards) -> Steps:
    """Yield everything that may happen next."""
    yield from provider_steps(state)
    if state.may_cancel and state.status not in FINAL:
        yield "the saga cancels the payment", state._replace(cancel_wanted=True, may_cancel=False)
    for reconciler in RECONCILERS:
        yield from reconciler_steps(state, reconciler, guards)


def provider_steps(state: State) -> Steps:
    """Let the provider carry out a request. Its reply is lost, so that a reconciler has to fetch the outcome."""
    if "charge" in state.requests:
        taken = state._replace(requests=state.requests - {"charge"})
        can_charge = state.intent == Intent("none", is_closed=False)
        yield (
            "the provider carries out the charge",
            taken._replace(intent=Intent("authorized", False)) if can_charge else taken,
        )
        yield "the charge is lost", taken
    if "cancel" in state.requests:
        taken = state._replace(requests=state.requests - {"cancel"})
        yield "the provider carries out the cancel", taken._replace(intent=cancelled(state.intent))


def cancelled(intent: Intent) -> Intent:
    """Return the intent after a cancel: money is released; what is not there yet is closed."""
    if intent.status == "authorized":
        return intent._replace(status="voided")
    return intent._replace(is_closed=True) if intent.status == "none" else intent


def reconciler_steps(state: State, reconciler: int, guards: Guards) -> Steps:
    """Fetch the intent, then apply it; or die in between."""
    fetched = state.reconcilers[reconciler]
    name = f"reconciler {reconciler}"
    if fetched is None:
        if state.status not in FINAL or state.intent.status == "authorized":
            yield (
                f"{name} fetches {described(state.intent)}",
                remember(state, reconciler, Fetched(state.intent, state.version)),
            )
        return
    done = remember(state, reconciler, None)
    yield f"{name} dies", done
    if guards.version_guard and fetched.version != state.version:
        yield f"{name} finds a newer version", done
    elif state.cancel_wanted:
        for label, after in apply_to_cancelled(done, fetched, guards):
            yield f"{name} {label}", after
    else:
        for label, after in apply_to_wanted(done, fetched.intent, guards):
            yield f"{name} {label}", after


def described(intent: Intent) -> str:
    """Return a word for an intent."""
    return "closed" if intent.is_closed else intent.status


def remember(state: State, reconciler: int, fetched: Fetched | None) -> State:
    """Return the state with another answer in the memory of one reconciler."""
    first, second = state.reconcilers
    return state._replace(reconcilers=(fetched, second) if reconciler == 0 else (first, fetched))


def apply_to_wanted(state: State, intent: Intent, guards: Guards) -> Steps:
    """Apply an answer to a payment that the order still needs."""
    if intent.status == "authorized":
        yield "writes authorized", write(state, "authorized")
    elif intent.status == "voided":
        yield "writes voided", write(state, "voided")
    elif guards.notfound_inconclusive:
        yield "requests the charge again, same key", request(state, "charge")
    else:
        yield "takes 'not found' for declined", write(state, "declined")


def apply_to_cancelled(state: State, fetched: Fetched, guards: Guards) -> Steps:
    """Apply an answer to a payment that is to be cancelled."""
    intent = fetched.intent
    if intent.status == "voided" or intent.is_closed:
        yield "writes voided", write(state, "voided")
    elif intent.status == "authorized":
        if not guards.version_guard:
            yield "writes the outdated answer", write(state, "authorized")
        yield "requests the cancel", request(state, "cancel")
    elif guards.force_before_giveup:
        yield "requests the cancel of the intent", request(state, "cancel")
    else:
        yield "takes 'not found' for voided", write(state, "voided")


def write(state: State, status: Status) -> State:
    """Write the payment's status; a change raises the version."""
    if status == state.status:
        return state
    reopened = state.was_reopened or state.status in FINAL
    return state._replace(status=status, version=state.version + 1, was_reopened=reopened)


def request(state: State, kind: Literal["charge", "cancel"]) -> State:
    """Send a request to the provider."""
    return state._replace(requests=state.requests | {kind})


def is_quiet(state: State) -> bool:
    """Return whether nothing is in flight and the payment has the status that the order asked for."""
    is_done = state.status in FINAL or (state.status == "authorized" and not state.cancel_wanted)
    return is_done and not state.requests and state.reconcilers == (None, None)


def violation(state: State) -> str:
    """Return what is wrong with the state, if anything."""
    if state.was_reopened:
        return "a final payment was changed"
    if not is_quiet(state):
        return ""
    if state.status in FINAL and state.intent.status == "authorized":
        return f"the payment is {state.status}, the provider holds the customer's money"
    if state.status == "authorized" and state.intent.status != "authorized":
        return f"the payment is authorized, at the provider it is {state.intent.status}"
    return ""


def is_settled(state: State) -> bool:
    """Return whether the payment has ended well."""
    return is_quiet(state) and not violation(state)


MODEL = Model("payment", START, Guards(), steps, violation, is_settled)
