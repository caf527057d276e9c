"""Collect the invariants of all contexts, of the kernel's tables, and those that span contexts."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib import import_module

from ops.verify import cross_context, events
from shop.invariants import ContextInvariants, Extract, Invariant


class InvalidDeclaration(Exception):
    """Two declarations contradict each other or use the same number."""


def load_declarations(contexts: Iterable[str]) -> dict[str, ContextInvariants]:
    """Import the declarations of these contexts, in the order in which their databases are read."""
    found: dict[str, ContextInvariants] = {
        context: import_module(f"contexts.{context}.invariants").DECLARATION for context in contexts
    }
    return dict(sorted(found.items(), key=lambda item: (item[1].read_order, item[0])))


def collect_invariants(declarations: Mapping[str, ContextInvariants]) -> tuple[Invariant, ...]:
    """Return all invariants, sorted by number."""
    found: dict[int, Invariant] = {}
    for context, declaration in declarations.items():
        for invariant in declaration.invariants:
            hosted = replace(invariant, contexts=(context,), sql={context: invariant.get_sql(context)})
            found[hosted.number] = _merge(found[hosted.number], hosted) if hosted.number in found else hosted
    contexts = tuple(declarations)
    for invariant in (*events.build_invariants(declarations), *cross_context.build_invariants(contexts)):
        if invariant.number in found:
            raise InvalidDeclaration(f"the number {invariant.number} of {invariant.name} is taken")
        found[invariant.number] = invariant
    return tuple(found[number] for number in sorted(found))


def _merge(first: Invariant, second: Invariant) -> Invariant:
    """Combine one invariant that two contexts declare, each for its own database."""
    if replace(first, sql="", contexts=()) != replace(second, sql="", contexts=()):
        raise InvalidDeclaration(f"{first.name} and {second.name} have the number {first.number}, but are not the same")
    sql = {context: one.get_sql(context) for one in (first, second) for context in one.contexts}
    return replace(first, contexts=tuple(sql), sql=sql)


def collect_extracts(declarations: Mapping[str, ContextInvariants]) -> dict[str, tuple[Extract, ...]]:
    """Return the extracts that are read from the database of each context."""
    return {context: declaration.extracts + events.EXTRACTS for context, declaration in declarations.items()}
