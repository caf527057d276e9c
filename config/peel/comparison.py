"""Whether two databases hold the same: counted while nobody can write, compared row by row in snapshots taken then."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import psycopg
from psycopg import sql

from config.peel.database import Database

COUNTS = "250ms"  # of the cut-over, for counting rows; where that is not enough the comparison after it has to do


class Different(Exception):
    """The two databases are not the same."""


def count(old: Database, new: Database) -> None:
    """Raises Different, if there was time to count."""
    counted = _both(_counts, old, new)
    if None not in counted and counted[0] != counted[1]:
        raise Different(f"Rows are missing: {_differences(*counted)}")


def _counts(side: Database) -> dict[str, int] | None:
    """Rows of each table; None where counting takes too long."""
    tables = side.tables()
    counts = sql.SQL(", ").join(sql.SQL("({})").format(_of(table, "count(*)")) for table in tables)
    try:
        with side.connection.transaction():
            side.run(f"SET LOCAL statement_timeout = '{COUNTS}'")
            return dict(zip(tables, side.connection.execute(sql.SQL("SELECT {}").format(counts)).fetchone() or (), strict=True))
    except psycopg.errors.QueryCanceled:
        return None


def snapshot(side: Database) -> psycopg.Connection:
    """A connection that sees its database as it is now, for as long as it is open."""
    connection = side.another_connection()
    connection.autocommit = False
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    for setting in ("timezone = 'UTC'", "datestyle = 'ISO'", "extra_float_digits = 1"):  # rows are compared as text
        connection.execute(f"SET {setting}")
    connection.execute("SELECT 1")  # what is set takes no snapshot yet
    return connection


def compare(tables: list[str], old: psycopg.Connection, new: psycopg.Connection) -> int:
    """Every row in two snapshots, which end with that. How many there are; raises Different."""
    with closing(old), closing(new):
        sums = _both(lambda held: {table: _checksum(held, table) for table in tables}, old, new)
    if sums[0] != sums[1]:
        raise Different(_differences(*sums))
    return sum(rows for rows, _ in sums[0].values())


def _checksum(held: psycopg.Connection, table: str) -> tuple[int, int]:
    """How many rows, and a sum over what is in them, whatever their order."""
    found = held.execute(_of(table, "count(*), coalesce(sum(hashtextextended(row::text, 0)), 0)::text")).fetchone()
    return found[0], int(found[1])


def _both(work: Callable, one: Any, other: Any) -> list[Any]:
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(work, (one, other)))


def _of(table: str, what: str) -> sql.Composed:
    return sql.SQL(f"SELECT {what} FROM {{}} AS row").format(sql.Identifier(table))


def _differences(old: dict, new: dict) -> str:
    return ", ".join(f"{table} (old {old[table]}, new {new.get(table)})" for table in old if old[table] != new.get(table))
