"""Compare two databases: row counts while no process can write, and every row in snapshots of the same moment."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import NamedTuple, TypeVar

import psycopg
from psycopg import sql

from ops.peel.database import Database

# Counting lengthens the cut-over. If it takes longer than this, only the rows are compared, afterwards.
COUNT_STATEMENT_TIMEOUT = "250ms"

Side = TypeVar("Side")
Result = TypeVar("Result")


class TableChecksum(NamedTuple):
    """The number of rows, and a checksum of their content that does not depend on their order."""

    rows: int
    checksum: int


class DatabasesDiffer(Exception):
    """The two databases do not have the same rows."""


def compare_row_counts(old: Database, new: Database) -> None:
    """Compare the row counts of all tables, unless counting takes too long. Raises DatabasesDiffer."""
    old_counts, new_counts = _run_on_both(_count_rows, old, new)
    if old_counts is not None and new_counts is not None and old_counts != new_counts:
        raise DatabasesDiffer(f"Rows are missing: {_describe_differences(old_counts, new_counts)}")


def _count_rows(side: Database) -> dict[str, int] | None:
    """Count the rows of each table; return None if that takes too long."""
    tables = side.list_tables()
    counts = sql.SQL(", ").join(sql.SQL("({})").format(_select_from(table, "count(*)")) for table in tables)
    try:
        with side.connection.transaction():
            side.execute(f"SET LOCAL statement_timeout = '{COUNT_STATEMENT_TIMEOUT}'")
            row = side.connection.execute(sql.SQL("SELECT {}").format(counts)).fetchone()
            return dict(zip(tables, row or (), strict=True))
    except psycopg.errors.QueryCanceled:
        return None


def open_snapshot(side: Database) -> psycopg.Connection:
    """Open a connection with a snapshot of the current state (REPEATABLE READ)."""
    connection = side.open_connection()
    connection.autocommit = False
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    for setting in ("timezone = 'UTC'", "datestyle = 'ISO'", "extra_float_digits = 1"):  # rows are compared as text
        connection.execute(f"SET {setting}")
    connection.execute("SELECT 1")  # SET alone takes no snapshot
    return connection


def compare_rows(tables: list[str], old: psycopg.Connection, new: psycopg.Connection) -> int:
    """Compare every row of two snapshots, and close them. Returns the number of rows; raises DatabasesDiffer."""

    def compute_checksums(snapshot: psycopg.Connection) -> dict[str, TableChecksum]:
        return {table: _compute_checksum(snapshot, table) for table in tables}

    with closing(old), closing(new):
        old_checksums, new_checksums = _run_on_both(compute_checksums, old, new)
    if old_checksums != new_checksums:
        raise DatabasesDiffer(_describe_differences(old_checksums, new_checksums))
    return sum(checksum.rows for checksum in old_checksums.values())


def _compute_checksum(snapshot: psycopg.Connection, table: str) -> TableChecksum:
    statement = _select_from(table, "count(*), coalesce(sum(hashtextextended(row::text, 0)), 0)::text")
    [(rows, checksum)] = snapshot.execute(statement).fetchall()
    return TableChecksum(rows, int(checksum))


def _run_on_both(work: Callable[[Side], Result], old: Side, new: Side) -> list[Result]:
    """Run work on both sides at the same time."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(work, (old, new)))


def _select_from(table: str, columns: str) -> sql.Composed:
    return sql.SQL(f"SELECT {columns} FROM {{}} AS row").format(sql.Identifier(table))


def _describe_differences(old: dict[str, Result], new: dict[str, Result]) -> str:
    return ", ".join(
        f"{table} (old {old[table]}, new {new.get(table)})" for table in old if old[table] != new.get(table)
    )
