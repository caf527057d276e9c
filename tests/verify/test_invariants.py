"""Every invariant, broken once by hand: exactly that is found, and in the end, when all is mended, nothing."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from config.verify import INVARIANTS, Invariant
from shop.database import changed, rows
from tests.verify import story
from tests.verify.plants import PLANTS, Plant
from tests.verify.watch import IN_THE_END, broken


@pytest.fixture(scope="module")
def told() -> dict[str, str]:
    return story.told()


@pytest.fixture(scope="module")
def before(told) -> set[tuple[str, str]]:
    """What other tests have planted in the same databases; nothing of it is about this story."""
    found = set(broken())
    assert not [subject for _, subject in found if about(subject, told)]
    return found


def about(subject: str, told: dict[str, str]) -> bool:
    return any(fact in subject for fact in told.values())


def new(told: dict[str, str], before: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """What is wrong now. What other tests have left waiting may become overdue meanwhile, and is not counted."""
    found = set(broken()) - before
    return {(name, subject) for name, subject in found if name not in IN_THE_END or about(subject, told)}


@contextmanager
def without(context: str, guard: str) -> Iterator[None]:
    """A constraint, a unique index or a trigger, gone for a while."""
    off, on = _switch(context, guard)
    changed(context, off)
    try:
        yield
    finally:
        changed(context, on)


def _switch(context: str, guard: str) -> tuple[str, str]:
    for table, definition in rows(
        context, "SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = %s", [guard]
    ):
        return f"ALTER TABLE {table} DROP CONSTRAINT {guard}", f"ALTER TABLE {table} ADD CONSTRAINT {guard} {definition}"
    for table in rows(context, "SELECT tgrelid::regclass::text FROM pg_trigger WHERE tgname = %s", [guard]):
        return f"ALTER TABLE {table[0]} DISABLE TRIGGER {guard}", f"ALTER TABLE {table[0]} ENABLE TRIGGER {guard}"
    [(definition,)] = rows(context, "SELECT pg_get_indexdef(%s::regclass)", [guard])
    return f"DROP INDEX {guard}", definition


def write(plant: Plant, sql: str, told: dict[str, str]) -> None:
    """Run a plant's SQL; within a literal of its own, a fact is put in as it is."""
    for name, value in told.items():
        sql = sql.replace(f":%({name})s", f":{value}")
    assert changed(plant.context, sql, told), "it changed nothing"


@pytest.mark.parametrize("plant", PLANTS, ids=str)
def test_a_planted_corruption_is_found(plant, told, before):
    expected = ((plant.invariant, plant.subject), *plant.also)
    with ExitStack() as off:
        for guard in plant.guards:
            off.enter_context(without(plant.context, guard))
        write(plant, plant.do, told)
        found = new(told, before)
        write(plant, plant.undo, told)
    gone = {("guards_are_on", guard) for guard in plant.guards}
    assert found == {(name, subject % told) for name, subject in expected} | gone


def test_all_is_mended(told, before):
    assert new(told, before) == set()


def test_every_invariant_has_a_planted_corruption():
    assert {plant.invariant for plant in PLANTS} == {one.name for one in INVARIANTS}


def test_numbers_and_names_are_unique():
    assert [one.number for one in INVARIANTS] == list(range(1, len(INVARIANTS) + 1))
    assert len({one.name for one in INVARIANTS}) == len(INVARIANTS)


def test_every_sentence_is_one():
    def is_sentence(one: Invariant) -> bool:
        return one.says[0].isupper() or one.says[0] == "0"

    assert [one.name for one in INVARIANTS if not (is_sentence(one) and one.says.endswith("."))] == []
