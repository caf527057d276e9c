"""Logical replication of all tables of a context, from one database to another: first a copy, then each commit in order."""

import time
import uuid
from collections.abc import Callable
from contextlib import suppress

import psycopg
from psycopg import sql

from config.peel.database import MARKS, Database

LOOK = 0.005  # seconds between two looks at how far it has come

_OWN = """
FROM pg_subscription WHERE subname = %s AND subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())"""


class Stuck(RuntimeError):
    """Nothing arrives any more; the server that should receive it says why in its log."""


class Stream:
    """What is written in `source` and was not received from elsewhere appears in `target`."""

    def __init__(self, name: str, source: Database, target: Database) -> None:
        self.name, self.source, self.target = name, source, target
        self.errors: int | None = None  # that there were when this command first looked

    def start(self, *, copy: bool) -> None:
        """Idempotent. Without `copy`, both sides have to be the same already."""
        for side in (self.source, self.target):
            side.make_marks()
        source, target = self.source, self.target
        if not source.has("SELECT 1 FROM pg_publication WHERE pubname = %s", self.name):
            tables = sql.SQL(", ").join([*map(sql.Identifier, source.tables()), sql.SQL(f"{MARKS}.mark")])
            source.connection.execute(
                sql.SQL("CREATE PUBLICATION {} FOR TABLE {}").format(sql.Identifier(self.name), tables)
            )
        if not self._slot():
            source.rows("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", self.name)
        if not self.exists():
            target.connection.execute(
                sql.SQL(
                    "CREATE SUBSCRIPTION {name} CONNECTION {source} PUBLICATION {name}"
                    " WITH (create_slot = false, slot_name = {slot}, copy_data = {copy}, origin = 'none')"
                ).format(
                    name=sql.Identifier(self.name), source=sql.Literal(source.conninfo()), slot=sql.Literal(self.name),
                    copy=sql.Literal(copy),
                )
            )

    def exists(self) -> bool:
        """Whether the target listens."""
        return self.target.has(f"SELECT 1 {_OWN}", self.name)

    def _slot(self) -> bool:
        return self.source.has("SELECT 1 FROM pg_replication_slots WHERE slot_name = %s", self.name)

    def await_copy(self, say: Callable[[str], None]) -> None:
        """Wait until every table has been copied, however long that takes. Raises Stuck when an error stops it."""
        self._fail_if_broken()
        before = -1
        while True:
            [(left, of)] = self.target.rows(
                """SELECT count(*) FILTER (WHERE srsubstate <> 'r'), count(*)
                   FROM pg_subscription_rel JOIN pg_subscription ON oid = srsubid WHERE subname = %s""",
                self.name,
            )
            if left != before:
                say(f"{of - left} of {of} tables")
                before = left
            if not left:
                return
            self._fail_if_broken()
            time.sleep(0.1)

    def _fail_if_broken(self) -> None:
        [(errors,)] = self.target.rows(
            "SELECT coalesce(sum(apply_error_count + sync_error_count), 0) FROM pg_stat_subscription_stats WHERE subname = %s",
            self.name,
        )
        self.errors = errors if self.errors is None else self.errors
        if errors > self.errors:
            raise Stuck("What is sent cannot be received; the log of the server that receives says why")

    def carry_through(self, patience: float) -> float:
        """Wait until all that was committed before is in the target. Seconds that it took; raises Stuck."""
        began, mark = time.monotonic(), uuid.uuid4()
        self.source.run(
            f"INSERT INTO {MARKS}.mark VALUES (%s, %s) ON CONFLICT (stream) DO UPDATE SET mark = excluded.mark", self.name, mark
        )
        while not self.target.has(f"SELECT 1 FROM {MARKS}.mark WHERE stream = %s AND mark = %s", self.name, mark):
            if time.monotonic() - began > patience:
                self._fail_if_broken()
                raise Stuck(f"What was written does not arrive within {patience:g} s")
            time.sleep(LOOK)
        return time.monotonic() - began

    def drop_at_target(self) -> None:
        """Stop receiving; what has arrived stays. Idempotent; asks nothing of the source."""
        for (oid,) in self.target.rows(f"SELECT oid::text {_OWN}", self.name):
            self.halves = f"pg_{oid}_sync_%"
            self.target.run("ALTER SUBSCRIPTION {name} DISABLE", name=self.name)
            self.target.run("ALTER SUBSCRIPTION {name} SET (slot_name = NONE)", name=self.name)
            self.target.run("DROP SUBSCRIPTION {name}", name=self.name)

    halves = ""  # slots of tables whose copy was not over

    def drop_at_source(self) -> None:
        """Keep nothing for the target any more. Idempotent; asks nothing of the target."""
        mine = "FROM pg_replication_slots WHERE slot_name = %s OR slot_name LIKE %s"
        deadline = time.monotonic() + 5
        while self.source.has(f"SELECT 1 {mine}", self.name, self.halves):
            if time.monotonic() > deadline:
                raise Stuck(f"The replication slot {self.name} stays in use")
            self.source.rows(f"SELECT pg_terminate_backend(active_pid) {mine}", self.name, self.halves)
            time.sleep(LOOK)
            with suppress(psycopg.errors.ObjectInUse):
                self.source.rows(f"SELECT pg_drop_replication_slot(slot_name) {mine}", self.name, self.halves)
        self.source.run("DROP PUBLICATION IF EXISTS {name}", name=self.name)
