"""Run the database server of a benchmark, and read its statistics: statements, write transactions, CPU."""

from pathlib import Path
from typing import NamedTuple

import psycopg

from bench import processes
from ops.launch.postgres import PostgresServer

OPTIONS = "-c shared_preload_libraries=pg_stat_statements -c pg_stat_statements.max=10000 -c max_connections=600"
FRAME = ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE")


class Statement(NamedTuple):
    """The statistics of a statement: its text without values, calls, and milliseconds in the server."""

    text: str
    calls: int
    execution: float
    planning: float  # 0 unless it is tracked


class DiskUse(NamedTuple):
    """The log of a server since it started: bytes written, and how often it waited for the disk."""

    wal_bytes: int
    fsyncs: int


class Postgres:
    """The server that all measured systems share, with pg_stat_statements. It is durable, as in production."""

    def __init__(self, folder: Path, *, track_planning: bool = False, durable: bool = True) -> None:
        planning = f" -c pg_stat_statements.track_planning={'on' if track_planning else 'off'}"
        self.server = PostgresServer(folder, options=OPTIONS + planning, durable=durable)
        self.socket = str(self.server.socket)

    def start(self) -> None:
        self.server.start()
        self.pid = int((self.server.data_folder / "postmaster.pid").read_text().split("\n", 1)[0])
        self.connection = self.connect("postgres")
        self.connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")

    def connect(self, database: str) -> psycopg.Connection:
        """Connect as the superuser, whose statements are not counted."""
        return psycopg.connect(host=self.socket, user="postgres", dbname=database, autocommit=True)

    def url(self, database: str, user: str = "postgres") -> str:
        return f"postgres://{user}@/{database}?host={self.socket.replace('/', '%2F')}"

    def stop(self) -> None:
        self.connection.close()
        self.server.stop()

    def cpu(self) -> float:
        """Return the seconds of CPU that the server has used since it started."""
        return processes.cpu(self.pid)

    def forget(self) -> None:
        """Reset the statistics of statements."""
        self.connection.execute("SELECT pg_stat_statements_reset()")

    def statements(self) -> list[Statement]:
        """Return the statements of all roles but the superuser, the most expensive first."""
        found = self.connection.execute(
            """SELECT query, sum(calls)::bigint, sum(total_exec_time), sum(total_plan_time) FROM pg_stat_statements
               WHERE userid <> 'postgres'::regrole GROUP BY query ORDER BY sum(total_exec_time + total_plan_time) DESC"""
        )
        return [Statement(*row) for row in found]

    def writes(self) -> int:
        """Return a counter that each writing transaction, on any database, increases by one."""
        found = self.connection.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint").fetchone()
        return found[0] if found else 0

    def disk_use(self) -> DiskUse:
        """Return what the server has written to its log. A process reports its part once it is idle for a moment."""
        sql = "SELECT pg_current_wal_insert_lsn() - '0/0', (SELECT {} FROM {})"
        in_io = self.connection.info.server_version >= 180000
        column, view = ("sum(fsyncs)", "pg_stat_io WHERE object = 'wal'") if in_io else ("wal_sync", "pg_stat_wal")
        found = self.connection.execute(sql.format(column, view)).fetchone() or (0, 0)
        return DiskUse(int(found[0]), int(found[1]))


def is_check(text: str) -> bool:
    """Return whether it is a statement that PostgreSQL runs itself to check a foreign key."""
    return text.startswith("SELECT 1 FROM ONLY")


def is_frame(text: str) -> bool:
    """Return whether a statement only begins or ends a transaction."""
    return text.upper().startswith(FRAME)
