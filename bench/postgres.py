"""The database server of a run, and what it counts: statements, write transactions, CPU."""

from pathlib import Path
from typing import NamedTuple

import psycopg

from bench import machine
from config.embedded import Server

OPTIONS = "-c shared_preload_libraries=pg_stat_statements -c pg_stat_statements.max=10000 -c max_connections=600"
FRAME = ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE")


class Statement(NamedTuple):
    """One statement's share: text without its values, calls, milliseconds in the server."""

    text: str
    calls: int
    execution: float
    planning: float  # 0 unless it is tracked


class Postgres:
    """One server for all that is measured, with pg_stat_statements; durable, as nothing else is worth measuring."""

    def __init__(self, folder: Path, *, track_planning: bool = False, durable: bool = True) -> None:
        planning = f" -c pg_stat_statements.track_planning={'on' if track_planning else 'off'}"
        self.server = Server(folder, options=OPTIONS + planning, durable=durable)
        self.socket = str(self.server.socket)

    def start(self) -> None:
        self.server.start()
        self.pid = int((self.server.data / "postmaster.pid").read_text().split("\n", 1)[0])
        self.connection = self.connect("postgres")
        self.connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")

    def connect(self, database: str) -> psycopg.Connection:
        """A connection as the superuser, whose statements are not counted."""
        return psycopg.connect(host=self.socket, user="postgres", dbname=database, autocommit=True)

    def url(self, database: str, user: str = "postgres") -> str:
        return f"postgres://{user}@/{database}?host={self.socket.replace('/', '%2F')}"

    def stop(self) -> None:
        self.connection.close()
        self.server.stop()

    def cpu(self) -> float:
        """Seconds of CPU that the server has used since it started."""
        return machine.cpu(self.pid)

    def forget(self) -> None:
        """Begin to count statements anew."""
        self.connection.execute("SELECT pg_stat_statements_reset()")

    def statements(self) -> list[Statement]:
        """What everybody but the superuser has run, the dearest first."""
        found = self.connection.execute(
            """SELECT query, sum(calls)::bigint, sum(total_exec_time), sum(total_plan_time) FROM pg_stat_statements
               WHERE userid <> 'postgres'::regrole GROUP BY query ORDER BY sum(total_exec_time + total_plan_time) DESC"""
        )
        return [Statement(*row) for row in found]

    def writes(self) -> int:
        """A number that each transaction that wrote something, on any database, has raised by one."""
        found = self.connection.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint").fetchone()
        return found[0] if found else 0


def is_check(text: str) -> bool:
    """Whether PostgreSQL itself ran a statement at COMMIT, for a foreign key."""
    return text.startswith("SELECT 1 FROM ONLY")


def is_frame(text: str) -> bool:
    """Whether a statement only begins or ends a transaction."""
    return text.upper().startswith(FRAME)
