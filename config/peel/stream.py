"""Logical replication of all tables of a context, from one database to another: first a copy, then each commit in order."""

import time
import uuid
from collections.abc import Callable

from psycopg import sql

from config.peel.database import MARKS, Database

LOOK = 0.005  # seconds between two looks at how far it has come


class Stuck(RuntimeError):
    """Nothing arrives any more; the server that should receive it says why in its log."""


class Stream:
    """What is written in `source` and was not received from elsewhere appears in `target`."""

    def __init__(self, name: str, source: Database, target: Database) -> None:
        self.name, self.source, self.target = name, source, target

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
        return self.target.has(
            """SELECT 1 FROM pg_subscription JOIN pg_database ON pg_database.oid = subdbid
               WHERE subname = %s AND datname = current_database()""",
            self.name,
        )

    def _slot(self) -> bool:
        return self.source.has("SELECT 1 FROM pg_replication_slots WHERE slot_name = %s", self.name)

    def await_copy(self, say: Callable[[str], None]) -> None:
        """Wait until every table has been copied, however long that takes. Raises Stuck when an error stops it."""
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
        if errors:
            raise Stuck(f"{errors} errors while receiving; the log of the new server says which")

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

    def drop(self) -> None:
        """Idempotent; leaves what has arrived."""
        if self.exists():
            if not self._slot():  # then there is nothing at the other side that DROP could take with it
                self.target.run("ALTER SUBSCRIPTION {name} DISABLE", name=self.name)
                self.target.run("ALTER SUBSCRIPTION {name} SET (slot_name = NONE)", name=self.name)
            self.target.run("DROP SUBSCRIPTION {name}", name=self.name)
        self.source.rows("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s", self.name)
        self.source.run("DROP PUBLICATION IF EXISTS {name}", name=self.name)
