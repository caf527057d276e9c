"""Types with which a context declares its invariants: what must hold in its database, as plain SQL.

Each context has a module `invariants.py` that ends in `DECLARATION = ContextInvariants(...)`. `manage.py verify` collects
the declarations and runs their SQL. A declaration shares no code with what writes the tables: it imports this module
and nothing else, and this module imports only the standard library.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Invariant:
    """A condition that must hold, and the SQL that finds violations of it.

    The SQL returns one row per checked subject with the columns `subject` and `problem`; `problem` is NULL where the
    invariant holds. It may use the parameters %(grace)s, the interval within which work in progress is excused,
    %(late)s, the interval within which a running timer must have fired, %(is_idle)s, true if the shop is idle,
    and %(currency)s, the currency of the shop.
    Number and name identify an invariant and never change. Two contexts may declare the same invariant, each with its
    own SQL; everything else must then be equal.
    """

    number: int
    name: str
    description: str
    sql: str | Mapping[str, str]  # one statement for all contexts, or one per context
    contexts: tuple[str, ...] = ()  # filled in by the registry for an invariant that a context declares
    holds_always: bool = True  # False: holds only once the grace period is over or the shop is idle
    is_cross_context: bool = (
        False  # the SQL runs in SQLite over the extracts of several contexts, not in their databases
    )

    def get_sql(self, context: str) -> str:
        """Return the SQL that runs in the database of a context."""
        return self.sql if isinstance(self.sql, str) else self.sql[context]


@dataclass(frozen=True, kw_only=True)
class EventCounter:
    """A table whose `sequence` column counts the events that were published about each row."""

    stream: str  # such as "orders.order": the streams of the rows are named "<stream>:<key>"
    table: str
    key: str = "id"
    created_at: str | None = "created_at"  # column with the time of creation, None if the table has none


@dataclass(frozen=True, kw_only=True)
class Extract:
    """Rows of one context that are copied into a temporary table, to be compared with rows of other contexts."""

    table: str
    columns: str  # comma-separated, in the order in which the SQL returns them
    key: str  # the column to index
    sql: str


@dataclass(frozen=True, kw_only=True)
class ContextInvariants:
    """Everything that a context declares for `manage.py verify`."""

    invariants: tuple[Invariant, ...] = ()
    required_constraints: tuple[
        str, ...
    ] = ()  # constraints, unique indexes and triggers that must exist and be enabled
    event_counters: tuple[EventCounter, ...] = ()
    extracts: tuple[Extract, ...] = ()
    read_order: int = 0  # databases are read one after the other, those with the lowest number first
