"""The move itself, step by step. Each step may be repeated, so that a move goes on wherever it was cut off.

    made      the new database has role and tables, and nobody may log in
    copied    every row is there, and each new one follows
    mirrored  what will be written there will come back here
    moved     the cut-over: nobody reads or writes for a moment, and then everybody there
    verified  at the moment of the cut both were the same
"""

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import psycopg
from django.conf import settings
from psycopg import sql

from config.directory import Directory, administrator, create
from config.peel.configuration import url
from config.peel.database import Database
from config.peel.stream import Stream
from shop import chaos
from shop.postgres.moves import Place

STEPS = ("begun", "made", "copied", "mirrored", "moved", "verified")
CLOSE_ENOUGH = 0.1  # seconds from a commit to its arrival; before that there is no cut-over
CATCH_UP = 60.0
DRAIN = 3.0  # seconds that the last commits may take; else everybody goes on where they were
COUNTS = "250ms"  # of the cut-over, for counting rows; where that is not enough the comparison after it has to do


class Refused(Exception):
    """The move cannot be made, or not now; nothing has changed."""


class Different(Exception):
    """The two databases are not the same."""


class Move:
    """One context's move from the database it is in to another one, and the way back."""

    def __init__(self, context: str, server: dict[str, Any], target: dict[str, Any], say: Callable[[str], None]) -> None:
        """`server`, `target`: how an administrator gets to the server of today, and to the new database."""
        self.context, self.say = context, say
        self.directory = Directory()
        begun = self.directory.move(context)
        here = begun[0] if begun else self.directory.place(context)
        name = f"{settings.DATABASE_PREFIX}_{context}_{here.epoch + 1}"
        there = Place(here.epoch + 1, target["HOST"], str(target["PORT"] or ""), target["NAME"], name)
        if begun and begun[1] != there:
            raise Refused(f"{context} is on its way to {begun[1].dbname} at {begun[1].host}: finish that, or roll it back")
        self.step = begun[2] if begun else ""
        self.old, self.new = Database(server, here), Database(target, there)
        self.there = Stream(f"{name}_there", self.old, self.new)
        self.back = Stream(f"{name}_back", self.new, self.old)

    # --- There

    def run(self) -> None:
        """All steps that are left."""
        if not self.step:
            self.directory.put(self.context, self.old.place)  # whoever is configured for the new one works here until then
            self._done("begun")
        for step, work in (
            ("made", self._make), ("copied", self._copy), ("mirrored", self._mirror), ("moved", self._cut_over),
            ("verified", self._verify),
        ):  # fmt: skip
            if STEPS.index(self.step) < STEPS.index(step):
                chaos.call(f"peel.{step}", work)
                self._done(step)

    def _done(self, step: str) -> None:
        self.step = step
        self.directory.record(self.context, self.old.place, self.new.place, step)

    def _make(self) -> None:
        """Until the tables are there, under a password that no process of the context has: none may write here yet."""
        for_now = secrets.token_hex(16)
        with administrator(self.new.server, "postgres") as connection:
            create(connection, self.new.place.dbname, self.new.place.user, for_now)
            names = map(sql.Identifier, (self.new.place.dbname, self.new.place.user))
            connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(*names))
        self.new.begin_anew()
        self.new.open()
        self._migrate(for_now)
        self.new.fence()
        self.new.set_password(settings.DATABASES[self.context]["PASSWORD"])
        if self.old.columns() != self.new.columns():
            raise Refused("The tables differ: bring both to the same release with `manage.py migrate`")
        self.new.clear()

    def _migrate(self, password: str) -> None:
        own = {f"{self.context.upper()}_DATABASE_URL": url(self.new.place, password)}
        command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "migrate", "--database", self.context, "--skip-checks"]
        done = subprocess.run(command, env=os.environ | own, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Refused(f"The new database cannot be migrated: {done.stderr.strip()}")

    def _copy(self) -> None:
        self.there.start(copy=True)
        self.there.await_copy(lambda how_far: self.say(f"  copied {how_far}"))

    def _mirror(self) -> None:
        self.back.start(copy=False)
        self.back.await_copy(lambda _: None)

    # --- The cut-over

    def _cut_over(self) -> None:
        there = self.new.place
        if self.directory.place(self.context).epoch >= there.epoch:  # it was cut off after the decision
            return self._let_in(self.new, there)
        if self.old.columns() != self.new.columns():
            raise Refused("The tables differ: somebody has migrated meanwhile; `--rollback`, and begin again")
        self._cut(self.old, self.new, self.there, there.epoch)

    def _cut(self, old: Database, new: Database, stream: Stream, epoch: int) -> None:
        self._await_close(stream)
        began = time.monotonic()
        self.directory.put(self.context, old.place._replace(moving=True, epoch=epoch - 1))
        try:
            chaos.call("peel.fence", old.fence)
            chaos.call("peel.drain", stream.carry_through, DRAIN)
            new.advance(old.sequences())
            self._count(old, new)
            self.snapshots = [_snapshot(side) for side in (old, new)]
        except BaseException:
            old.open()
            self.directory.put(self.context, old.place._replace(epoch=epoch - 1))
            raise
        chaos.call("peel.decide", self.directory.put, self.context, new.place._replace(epoch=epoch, moving=True))
        self._let_in(new, new.place._replace(epoch=epoch))
        self.say(f"  nobody could write for {time.monotonic() - began:.3f} s")

    def _let_in(self, new: Database, place: Place) -> None:
        chaos.call("peel.open", new.open)
        self.directory.put(self.context, place)

    def _await_close(self, stream: Stream) -> None:
        deadline = time.monotonic() + CATCH_UP
        while (late := stream.carry_through(CATCH_UP)) > CLOSE_ENOUGH:
            if time.monotonic() > deadline:
                raise Refused(f"The new database stays {late:.1f} s behind; try again when there is less to do")

    def _count(self, old: Database, new: Database) -> None:
        counted = _both(_counts, old, new)
        if None not in counted and counted[0] != counted[1]:
            raise Different(f"Rows are missing: {_differences(*counted)}")

    # --- Verification

    snapshots: list[psycopg.Connection] | None = None

    def _verify(self) -> None:
        """Compare every row at the moment of the cut. What differs sends everybody back."""
        if self.snapshots is None:  # it was cut off since: a moment like that once more
            self.snapshots = self._snapshots_of_one_moment()
        tables = self.old.tables()
        with closing(self.snapshots[0]), closing(self.snapshots[1]):
            sums = _both(lambda held: {table: _checksum(held, table) for table in tables}, *self.snapshots)
        if sums[0] != sums[1]:
            self.roll_back()
            raise Different(f"Not the same at the cut, so all are back where they were: {_differences(*sums)}")
        self.say(f"  {sum(rows for rows, _ in sums[0].values())} rows in {len(tables)} tables are the same")

    def _snapshots_of_one_moment(self) -> list[psycopg.Connection]:
        place = self.new.place
        self.directory.put(self.context, place._replace(moving=True))
        try:
            self.new.fence()
            self.back.carry_through(DRAIN)
            return [_snapshot(side) for side in (self.old, self.new)]
        finally:
            self._let_in(self.new, place)

    # --- Back, and the end

    def roll_back(self) -> None:
        """To where it was, with all that has been written since."""
        if not self.step:
            raise Refused(f"No move of {self.context} is under way; to move it back is another move, to an empty database")
        here, there = self.old.place, self.new.place
        now = self.directory.place(self.context)
        if now.epoch == there.epoch:
            if not self.back.exists():
                raise Refused("Nothing carries back what has been written since; `manage.py peel` to another database does")
            self._cut(self.new, self.old, self.back, there.epoch + 1)
        elif now.epoch == here.epoch:
            self.old.open()
            self.directory.put(self.context, here)
        else:
            self._let_in(self.old, now)
        self._end()

    def finish(self) -> None:
        """Stop carrying back what is written. Raises Refused before the move is verified."""
        if self.step != "verified":
            raise Refused(f"The move of {self.context} is not over; without --finish it goes on")
        self._end()

    def _end(self) -> None:
        if self._target_exists():
            for stream in (self.there, self.back):
                stream.drop()
            for side in (self.old, self.new):
                side.forget_marks()
        self.directory.forget(self.context)

    def _target_exists(self) -> bool:
        with administrator(self.new.server, "postgres") as connection:
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [self.new.place.dbname])
            return bool(found.fetchone())


def _both(work: Callable, one: Any, other: Any) -> list[Any]:
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(work, (one, other)))


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


def _snapshot(side: Database) -> psycopg.Connection:
    """A connection that sees its database as it is now, for as long as it is open."""
    connection = side.another_connection()
    connection.autocommit = False
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    for setting in ("timezone = 'UTC'", "datestyle = 'ISO'", "extra_float_digits = 1"):  # rows are compared as text
        connection.execute(f"SET {setting}")
    return connection


def _checksum(held: psycopg.Connection, table: str) -> tuple[int, int]:
    """How many rows, and a sum over what is in them, whatever their order."""
    found = held.execute(_of(table, "count(*), coalesce(sum(hashtextextended(row::text, 0)), 0)::text")).fetchone()
    return found[0], int(found[1])


def _of(table: str, what: str) -> sql.Composed:
    return sql.SQL(f"SELECT {what} FROM {{}} AS row").format(sql.Identifier(table))


def _differences(old: dict, new: dict) -> str:
    return ", ".join(f"{table} (old {old[table]}, new {new.get(table)})" for table in old if old[table] != new.get(table))
