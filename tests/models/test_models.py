"""The models have no violation with all guards on, and one with each guard switched off alone."""

import re
from functools import cache
from pathlib import Path

import pytest

from tests.models.__main__ import MODELS
from tests.models.checkout_state import count_with_named_workers
from tests.models.explorer import DEAD_END, Exploration, explore
from tests.models.guards import GUARDS
from tests.mutants.planted import mutants

PROTOCOL = Path(__file__).parents[2] / "docs" / "protocol.md"

STATES = {
    "delivery": 45_592, "checkout": 187_700, "capture_set": 409, "payment": 394, "settlement": 192, "durability": 248_157,
}  # fmt: skip
CHECKOUT_STATES_WITH_NAMED_WORKERS = 372_520

COUNTEREXAMPLES = {
    "delivery.key_lock": "a handler saw the events out of commit order",
    "delivery.prefix": "a handler saw the events out of commit order",
    "delivery.handler_order": "a handler saw the events out of commit order",
    "delivery.refuse_unknown": "an acknowledged event has no inbox row",
    "delivery.inbox_atomic": "an acknowledged event has no inbox row",
    "delivery.inbox_unique": "an effect happened twice",
    "delivery.arrival_order": "a handler saw the events out of commit order",
    "delivery.arrival_atomic": "an event counts as handled, but has had no effect",
    "delivery.purge_after_ack": "an effect happened twice",
    "delivery.park_refused": "a handler saw the events out of commit order",
    "delivery.discard_parked": "an event was discarded that was not parked",
    "checkout.fence": "the stock is free, the money is still taken",
    "checkout.tombstone": "the order is cancelled, the stock is held",
    "checkout.undo_tried": "the order is cancelled, the stock is held",
    "checkout.saga_owns_expiry": "a confirmed order has no stock",
    "checkout.cancel_flag": "the order is cancelled, the stock is committed",
    "checkout.one_undo": DEAD_END,
    "checkout.free_after_money": "the stock is free, the money is still taken",
    "capture_set.fence": "the order is paid, the money is not taken",
    "capture_set.wake_up": DEAD_END,
    "capture_set.capturable": "the order is cancelled, the money is taken",
    "settlement.ask_before_expiry": "a paid order is rejected for lack of payment",
    "settlement.retry_after_refusal": "the money is captured twice",
    "settlement.account_for_amounts": "staff are asked to pay back what was refunded",
    "settlement.end_refused_refund": DEAD_END,
    "durability.same_server": "an acknowledged event is lost",
    "durability.same_session": "an acknowledged event is lost",
    "durability.repeat_waits": "an acknowledged event is lost",
    "durability.claim_waits": "an acknowledged event is lost",
    "durability.lease_waits": "two workers hold one lease",
    "durability.hold_waits": "a mail was sent more often than counted",
    "payment.notfound_inconclusive": "the payment is declined, the provider holds the customer's money",
    "payment.version_guard": "a final payment was changed",
    "payment.force_before_giveup": "the payment is voided, the provider holds the customer's money",
}


@cache
def explored_with_all_guards(name: str) -> Exploration:
    """Explore a model once for all tests."""
    return explore(MODELS[name], MODELS[name].guards)


@pytest.mark.parametrize("name", MODELS)
def test_with_all_guards_no_rule_is_violated(name):
    exploration = explored_with_all_guards(name)
    assert (exploration.violation, exploration.trace) == ("", ())
    assert len(exploration.states) == STATES[name]


def test_the_checkout_model_does_not_distinguish_its_workers():
    states = explored_with_all_guards("checkout").states
    assert count_with_named_workers(states) == CHECKOUT_STATES_WITH_NAMED_WORKERS


def test_the_protocol_gives_the_numbers_of_states():
    text = PROTOCOL.read_text()
    assert [n for n in (*STATES.values(), CHECKOUT_STATES_WITH_NAMED_WORKERS) if f"{n:,}" not in text] == []


@pytest.mark.parametrize("guard", GUARDS)
def test_without_a_guard_there_is_a_counterexample(guard):
    name, _, field = guard.partition(".")
    exploration = explore(MODELS[name], MODELS[name].guards_without(field))
    assert exploration.violation == COUNTEREXAMPLES[guard], exploration.trace


def test_every_guard_is_linked_to_the_code():
    guards = {f"{name}.{guard}" for name, model in MODELS.items() for guard in model.guard_names()}
    assert set(GUARDS) == guards
    assert set(COUNTEREXAMPLES) == guards


def test_every_planted_bug_that_a_guard_names_exists():
    named = {bug for link in GUARDS.values() for bug in link.planted_bugs}
    assert named - {mutant.name for mutant in mutants()} == set()


@pytest.mark.parametrize("guard", GUARDS)
def test_the_rule_of_a_guard_names_it_and_its_planted_bugs(guard):
    link = GUARDS[guard]
    assert {f"`{name}`" for name in (guard, *link.planted_bugs)} - set(re.findall(r"`[^`]+`", rule(link.rule))) == set()


def test_every_planted_bug_that_the_protocol_names_exists():
    lists = re.findall(r"planted bugs?:((?:\s+`\w+`[,.])+)", PROTOCOL.read_text(), re.IGNORECASE)
    named = {name for text in lists for name in re.findall(r"\w+", text)}
    assert len(named) >= len({bug for link in GUARDS.values() for bug in link.planted_bugs})
    assert named - {mutant.name for mutant in mutants()} == set()


def rule(number: str) -> str:
    """Return the text of a rule of the protocol."""
    [text] = re.findall(rf"^### {re.escape(number)} .*\n((?:(?!#).*\n)*)", PROTOCOL.read_text(), re.MULTILINE)
    return text
