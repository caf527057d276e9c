"""Replicate all tables of a context from one database to another: first a copy, then each commit in order."""

import time
import uuid
from collections.abc import Callable
from contextlib import suppress

import psycopg
from psycopg import sql

from ops.peel.database import MARKS_SCHEMA, Database

POLL_INTERVAL_SECONDS = 0.005  # while waiting for replication to catch up
COPY_POLL_INTERVAL_SECONDS = 0.1
SLOT_RELEASE_TIMEOUT_SECONDS = 5.0  # how long the server may take to stop using a replication slot

_SUBSCRIPTION_SQL = """
FROM pg_subscription WHERE subname = %s AND subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())"""


class ReplicationStalled(RuntimeError):
    """Replication does not make progress; the log of the receiving server has the reason."""


class Replication:
    """Replicate the writes to `source`, except those that `source` itself received by replication, to `target`."""

    table_slot_pattern = ""  # LIKE pattern of the slots of tables whose copy was interrupted

    def __init__(self, name: str, source: Database, target: Database) -> None:
        self.name, self.source, self.target = name, source, target
        self.initial_errors: int | None = None  # the error count of the subscription when this command began

    def start(self, *, copy: bool) -> None:
        """Start to replicate. Without `copy`, both sides must have the same rows already. Idempotent."""
        for side in (self.source, self.target):
            side.create_marks_table()
        source, target = self.source, self.target
        if not source.has_rows("SELECT 1 FROM pg_publication WHERE pubname = %s", self.name):
            tables = sql.SQL(", ").join([*map(sql.Identifier, source.list_tables()), sql.SQL(f"{MARKS_SCHEMA}.mark")])
            source.connection.execute(
                sql.SQL("CREATE PUBLICATION {} FOR TABLE {}").format(sql.Identifier(self.name), tables)
            )
        if not self._has_slot():
            source.rows("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", self.name)
        if not self.exists():
            target.connection.execute(
                sql.SQL(
                    "CREATE SUBSCRIPTION {name} CONNECTION {source} PUBLICATION {name}"
                    " WITH (create_slot = false, slot_name = {slot}, copy_data = {copy}, origin = 'none')"
                ).format(
                    name=sql.Identifier(self.name),
                    source=sql.Literal(source.build_conninfo()),
                    slot=sql.Literal(self.name),
                    copy=sql.Literal(copy),
                )
            )

    def exists(self) -> bool:
        """Return whether the target has the subscription."""
        return self.target.has_rows(f"SELECT 1 {_SUBSCRIPTION_SQL}", self.name)

    def _has_slot(self) -> bool:
        return self.source.has_rows("SELECT 1 FROM pg_replication_slots WHERE slot_name = %s", self.name)

    def await_copy(self, report: Callable[[str], None]) -> None:
        """Wait until every table has been copied, without a time limit. Raises ReplicationStalled after an error."""
        self._raise_if_failed()
        previous = -1
        while True:
            [(remaining, total)] = self.target.rows(
                """SELECT count(*) FILTER (WHERE srsubstate <> 'r'), count(*)
                   FROM pg_subscription_rel JOIN pg_subscription ON oid = srsubid WHERE subname = %s
                   AND srrelid <> to_regclass(%s)""",
                self.name,
                f"{MARKS_SCHEMA}.mark",
            )
            if remaining != previous:
                report(f"{total - remaining} of {total} tables")
                previous = remaining
            if not remaining:
                return
            self._raise_if_failed()
            time.sleep(COPY_POLL_INTERVAL_SECONDS)

    def _raise_if_failed(self) -> None:
        [(errors,)] = self.target.rows(
            "SELECT coalesce(sum(apply_error_count + sync_error_count), 0) FROM pg_stat_subscription_stats WHERE subname = %s",
            self.name,
        )
        self.initial_errors = errors if self.initial_errors is None else self.initial_errors
        if errors > self.initial_errors:
            raise ReplicationStalled("The receiving server cannot apply the changes; see its log for the reason")

    def await_catch_up(self, timeout_seconds: float) -> float:
        """Wait until the target has everything that was committed before. Returns the seconds that it took.

        Raises ReplicationStalled after the timeout.
        """
        started_at, mark = time.monotonic(), uuid.uuid4()
        self.source.execute(
            f"INSERT INTO {MARKS_SCHEMA}.mark VALUES (%s, %s) ON CONFLICT (stream) DO UPDATE SET mark = excluded.mark",
            self.name,
            mark,
        )
        while not self.target.has_rows(
            f"SELECT 1 FROM {MARKS_SCHEMA}.mark WHERE stream = %s AND mark = %s", self.name, mark
        ):
            if time.monotonic() - started_at > timeout_seconds:
                self._raise_if_failed()
                raise ReplicationStalled(f"The changes did not arrive at the target within {timeout_seconds:g} s")
            time.sleep(POLL_INTERVAL_SECONDS)
        return time.monotonic() - started_at

    def drop_subscription(self) -> None:
        """Stop receiving; rows that have arrived stay. Idempotent; works without the source."""
        for (oid,) in self.target.rows(f"SELECT oid::text {_SUBSCRIPTION_SQL}", self.name):
            self.table_slot_pattern = f"pg_{oid}_sync_%"
            self.target.execute("ALTER SUBSCRIPTION {name} DISABLE", name=self.name)
            self.target.execute("ALTER SUBSCRIPTION {name} SET (slot_name = NONE)", name=self.name)
            self.target.execute("DROP SUBSCRIPTION {name}", name=self.name)

    def drop_publication(self) -> None:
        """Drop the publication and the slots, so that the source keeps no log for the target.

        Idempotent; works without the target.
        """
        own_slots = "FROM pg_replication_slots WHERE slot_name = %s OR slot_name LIKE %s"
        deadline = time.monotonic() + SLOT_RELEASE_TIMEOUT_SECONDS
        while self.source.has_rows(f"SELECT 1 {own_slots}", self.name, self.table_slot_pattern):
            if time.monotonic() > deadline:
                raise ReplicationStalled(f"The replication slot {self.name} is still in use; run the command again")
            self.source.rows(f"SELECT pg_terminate_backend(active_pid) {own_slots}", self.name, self.table_slot_pattern)
            time.sleep(POLL_INTERVAL_SECONDS)
            with suppress(psycopg.errors.ObjectInUse):
                self.source.rows(
                    f"SELECT pg_drop_replication_slot(slot_name) {own_slots}", self.name, self.table_slot_pattern
                )
        self.source.execute("DROP PUBLICATION IF EXISTS {name}", name=self.name)
