"""Each invariant reports exactly the corruption that is planted for it, and nothing once it is removed."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import psycopg
import pytest

from ops.verify import INVARIANTS, Invariant
from shop.db.database import execute, fetch_rows
from tests.ops.verify.corruptions import CORRUPTIONS, Corruption
from tests.ops.verify.invariant_watch import EVENTUAL_INVARIANTS, find_violations
from tests.ops.verify.sample_orders import create_sample_orders
from tests.shop.db.superuser_session import database_name, open_superuser_session


@pytest.fixture(scope="module")
def sample_orders() -> dict[str, str]:
    return create_sample_orders()


@pytest.fixture(scope="module")
def earlier_violations(sample_orders) -> set[tuple[str, str]]:
    """Return the violations that other tests left in the databases; none is about the sample orders."""
    found = set(find_violations())
    assert not [subject for _, subject in found if is_about_sample(subject, sample_orders)]
    return found


def is_about_sample(subject: str, sample_orders: dict[str, str]) -> bool:
    return any(sample_id in subject for sample_id in sample_orders.values())


def new_violations(sample_orders: dict[str, str], earlier_violations: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return the violations since the module began, without timers of other tests that became overdue meanwhile."""
    found = set(find_violations()) - earlier_violations
    return {
        (name, subject)
        for name, subject in found
        if name not in EVENTUAL_INVARIANTS or is_about_sample(subject, sample_orders)
    }


@contextmanager
def without_guard(context: str, guard: str) -> Iterator[None]:
    """Disable a constraint, a unique index or a trigger for the duration of the block."""
    disable, enable = _build_guard_sql(context, guard)
    execute(context, disable)
    try:
        yield
    finally:
        execute(context, enable)


def _build_guard_sql(context: str, guard: str) -> tuple[str, str]:
    for table, definition in fetch_rows(
        context,
        "SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = %s",
        [guard],
    ):
        return (
            f"ALTER TABLE {table} DROP CONSTRAINT {guard}",
            f"ALTER TABLE {table} ADD CONSTRAINT {guard} {definition}",
        )
    for table in fetch_rows(context, "SELECT tgrelid::regclass::text FROM pg_trigger WHERE tgname = %s", [guard]):
        return f"ALTER TABLE {table[0]} DISABLE TRIGGER {guard}", f"ALTER TABLE {table[0]} ENABLE TRIGGER {guard}"
    [(definition,)] = fetch_rows(context, "SELECT pg_get_indexdef(%s::regclass)", [guard])
    return f"DROP INDEX {guard}", definition


def run_sql(corruption: Corruption, sql: str, sample_orders: dict[str, str]) -> None:
    """Run the SQL of a corruption as the superuser, since the role of a context cannot change audit rows.

    An id within a longer literal (`stream = 'orders.order:%(bought)s'`) is inserted as text.
    """
    for name, value in sample_orders.items():
        sql = sql.replace(f":%({name})s", f":{value}")
    with open_superuser_session(database_name(corruption.context), autocommit=True) as session:
        assert psycopg.ClientCursor(session).execute(sql, sample_orders).rowcount, "it changed no row"


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=str)
def test_a_planted_corruption_is_found(corruption, sample_orders, earlier_violations):
    expected = ((corruption.invariant, corruption.subject), *corruption.also)
    with ExitStack() as disabled:
        for guard in corruption.guards:
            disabled.enter_context(without_guard(corruption.context, guard))
        run_sql(corruption, corruption.do, sample_orders)
        found = new_violations(sample_orders, earlier_violations)
        run_sql(corruption, corruption.undo, sample_orders)
    missing_guards = {("guards_are_on", guard) for guard in corruption.guards}
    assert found == {(name, subject % sample_orders) for name, subject in expected} | missing_guards


def test_no_corruption_remains(sample_orders, earlier_violations):
    assert new_violations(sample_orders, earlier_violations) == set()


def test_every_invariant_has_a_planted_corruption():
    assert {corruption.invariant for corruption in CORRUPTIONS} == {one.name for one in INVARIANTS}


def test_numbers_and_names_are_unique():
    assert [one.number for one in INVARIANTS] == list(range(1, len(INVARIANTS) + 1))
    assert len({one.name for one in INVARIANTS}) == len(INVARIANTS)


def test_every_description_is_a_sentence():
    def is_sentence(one: Invariant) -> bool:
        return one.description[0].isupper()

    assert [one.name for one in INVARIANTS if not (is_sentence(one) and one.description.endswith("."))] == []
