"""Declarations of invariants: collected from the contexts, merged, and checked for contradictions."""

from dataclasses import replace

import pytest
from django.conf import settings

from ops.verify import ALL_CONTEXTS, INVARIANTS
from ops.verify.registry import InvalidDeclaration, collect_extracts, collect_invariants, load_declarations
from shop.invariants import ContextInvariants, EventCounter, Invariant

PLANTED = Invariant(number=1000, name="planted", description="It holds.", sql="SELECT 1")
NEW_CONTEXT = {"reviews": ContextInvariants(invariants=(PLANTED,))}


def test_all_contexts_are_read_and_orders_last():
    assert set(ALL_CONTEXTS) == set(settings.ALL_CONTEXTS)
    assert (ALL_CONTEXTS[0], ALL_CONTEXTS[-1]) == ("notifications", "orders")


def test_a_new_context_brings_its_invariants_without_a_change_here():
    declarations = load_declarations(settings.ALL_CONTEXTS) | NEW_CONTEXT
    collected = collect_invariants(declarations)
    by_name = {one.name: one for one in collected}
    assert [one.number for one in collected] == [one.number for one in INVARIANTS] + [PLANTED.number]
    assert by_name["planted"].contexts == ("reviews",)
    assert "reviews" in by_name["guards_are_on"].contexts
    assert [one.table for one in collect_extracts(declarations)["reviews"]] == ["sent", "received"]


def test_an_invariant_of_two_contexts_has_the_sql_of_each():
    [one] = [one for one in INVARIANTS if one.number == 6]
    assert one.contexts == ("inventory", "orders")
    assert "FROM inventory_reservation" in one.get_sql("inventory")
    assert "FROM orders_order" in one.get_sql("orders")


@pytest.mark.parametrize("change", [{"name": "other"}, {"description": "Other."}, {"holds_always": False}])
def test_a_contradicting_declaration_is_refused(change):
    other = ContextInvariants(invariants=(replace(PLANTED, **change),))
    with pytest.raises(InvalidDeclaration, match="have the number 1000, but are not the same"):
        collect_invariants(NEW_CONTEXT | {"ratings": other})


def test_a_number_of_the_kernels_invariants_is_refused():
    taken = ContextInvariants(invariants=(replace(PLANTED, number=24),))
    with pytest.raises(InvalidDeclaration, match="the number 24 of stream_without_gaps is taken"):
        collect_invariants({"reviews": taken})


def test_every_event_counter_is_checked():
    counters = (EventCounter(stream="a.a", table="a_a"), EventCounter(stream="a.b", table="a_b", created_at=None))
    [one] = [one for one in collect_invariants({"a": ContextInvariants(event_counters=counters)}) if one.number == 25]
    assert [f"FROM {table})" in one.get_sql("a") for table in ("a_a", "a_b")] == [True, True]
