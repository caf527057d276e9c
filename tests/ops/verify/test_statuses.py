"""The statuses that the invariants' SQL compares with are those that the contexts declare.

The SQL imports nothing from the contexts, so a renamed or a new status would go unnoticed without this comparison.
"""

import re
from collections.abc import Iterable
from dataclasses import replace
from enum import StrEnum
from importlib import import_module

import pytest
from django.apps import apps
from django.conf import settings

from ops.verify import INVARIANTS, Invariant
from ops.verify.registry import load_declarations

DECLARATIONS = load_declarations(settings.ALL_CONTEXTS)
COLUMNS = ("status", "step")
COLUMN = rf"(?:\b(\w+)\.)?\b({'|'.join(COLUMNS)})"
COMPARISON = re.compile(rf"{COLUMN}\s*(?:=|<>|(?:NOT )?IN)\s*(\(\s*'[^)]*\)|'[^']*')")
PAIRS = re.compile(r"\(status, step\) NOT IN \(((?:\s*\('\w+', '\w+'\),?)+)\s*\)")
CASE = re.compile(r"CASE (?:(\w+)\.)?status\s(.*?)\bEND\b", re.DOTALL)

# A status of another context's row, in the SQL that compares extracts: by the alias of the extract's table.
ALIASES = {
    alias: context
    for context, declaration in DECLARATIONS.items()
    for extract in declaration.extracts
    for alias in (extract.table, extract.table.removesuffix("s"))
}


def find_compared(sql: str) -> list[tuple[str, str]]:
    """Return the literals that SQL compares with a status or a step, each with the alias of the column's table."""
    found = [(alias, literals) for alias, _, literals in COMPARISON.findall(sql)]
    found += [("", pairs) for pairs in PAIRS.findall(sql)]
    found += [(alias, " ".join(re.findall(r"WHEN ('\w+') THEN", body))) for alias, body in CASE.findall(sql)]
    return [(alias, literal) for alias, literals in found for literal in re.findall(r"'([^']*)'", literals)]


def compared_statuses(invariants: Iterable[Invariant]) -> dict[str, set[str]]:
    """Return the compared literals of each context."""
    found: dict[str, set[str]] = {context: set() for context in DECLARATIONS}
    for invariant in invariants:
        if invariant.is_cross_context:
            for alias, literal in find_compared(str(invariant.sql)):
                found[ALIASES[alias]].add(literal)
        else:
            for context in invariant.contexts:
                found[context] |= {literal for _, literal in find_compared(invariant.get_sql(context))}
    return found


def declared_statuses(context: str) -> set[str]:
    """Return the statuses that a context declares, in its interface or as choices of a model's field."""
    enums = [
        cls
        for cls in vars(import_module(f"contexts.{context}.interface")).values()
        if isinstance(cls, type) and issubclass(cls, StrEnum) and cls.__name__.endswith(("Status", "Step"))
    ]
    fields = [
        field
        for model in apps.get_app_config(context).get_models()
        for field in model._meta.get_fields()
        if field.name in COLUMNS and getattr(field, "choices", None)
    ]
    return {str(member) for cls in enums for member in cls} | {value for field in fields for value, _ in field.choices}


@pytest.mark.parametrize("context", DECLARATIONS)
def test_the_invariants_compare_with_the_declared_statuses(context):
    assert compared_statuses(INVARIANTS)[context] == declared_statuses(context)


def test_statuses_are_found():
    assert {"held", "refused"} <= declared_statuses("inventory")
    assert {"pending", "undo_money"} <= declared_statuses("orders")


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("WHERE status = 'held'", [("", "held")]),
        ("WHERE orders.status <> 'held'", [("orders", "held")]),
        ("WHERE status NOT IN ('held', 'sold')", [("", "held"), ("", "sold")]),
        ("WHERE (status, step) NOT IN (\n ('a', 'b'), ('c', 'd'))", [("", "a"), ("", "b"), ("", "c"), ("", "d")]),
        ("CASE status WHEN 'held' THEN '^held$' ELSE 'x' END", [("", "held")]),
        ("WHERE key.status = 201 AND kind = 'x'", []),
    ],
)
def test_compared_literals_are_found(sql, expected):
    assert find_compared(sql) == expected


@pytest.mark.parametrize(
    ("number", "replaced", "context", "difference"),
    [(4, "'released'", "inventory", {"planted"}), (46, "'declined'", "payments", {"planted", "declined"})],
)
def test_a_status_that_is_not_declared_is_found(number, replaced, context, difference):
    planted = [
        replace(
            one, sql=str(one.sql if isinstance(one.sql, str) else one.get_sql(context)).replace(replaced, "'planted'")
        )
        if one.number == number
        else one
        for one in INVARIANTS
    ]
    assert compared_statuses(planted)[context] ^ declared_statuses(context) == difference
