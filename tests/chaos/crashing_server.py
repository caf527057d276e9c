"""Kill all of PostgreSQL at points of the flows, while the process that reaches the point lives on: `python -m` this module.

After the crash another worker works first, with what the server has left, and then this one continues with what it remembers.
The process that writes the log in the background is stopped, so the server loses everything that did not wait for its disk.
"""

import json
import os
import signal
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import django
import psycopg

from ops.launch.postgres import PostgresServer
from ops.launch.processes import find_processes_in

SERVER_OPTIONS = "-c wal_writer_delay=10s -c wal_buffers=64MB -c checkpoint_timeout=1h -c autovacuum=off"
FINISH_TIMEOUT_SECONDS = 60.0

# Time passes: leases run out, pauses are over. Rows that are not leased and not due stay so.
KERNEL_SQL = (
    "UPDATE shop_delivery SET due_at = now() WHERE acknowledged_at IS NULL AND parked_at IS NULL",
    "UPDATE shop_inboxrow SET due_at = now(), lease_until = NULL WHERE handled_at IS NULL AND parked_at IS NULL",
)
CONTEXT_SQL = {
    "orders": "UPDATE orders_order SET lease_until = NULL, due_at = now() WHERE due_at IS NOT NULL",
    "payments": "UPDATE payments_payment SET lease_until = NULL, due_at = now() WHERE due_at IS NOT NULL",
    "notifications": "UPDATE notifications_message SET lease_until = NULL, due_at = now() WHERE status = 'waiting'",
}


class CrashingServer:
    """The server of the databases, and the point at which it crashes."""

    def __init__(self, folder: Path) -> None:
        self.server = PostgresServer(folder, durable=False, options=SERVER_OPTIONS)
        self.losses: list[int] = []  # bytes of the log that each crash has lost

    def start(self) -> None:
        self.server.start()
        with psycopg.connect(self.server.url) as session:
            [(pid,)] = session.execute("SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'").fetchall()
        os.kill(pid, signal.SIGSTOP)

    def crash(self) -> None:
        """Kill all processes of the server at once, and start it again."""
        with psycopg.connect(self.server.url) as session:
            size = "SELECT (pg_current_wal_insert_lsn() - pg_current_wal_flush_lsn())::bigint"
            self.losses += [lost for (lost,) in session.execute(size)]
        for pid in find_processes_in(self.server.data_folder):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        while self.server.is_running():
            time.sleep(0.005)
        self.start()

    def stop(self) -> None:
        """Stop the server. The stopped process has to continue for this."""
        for pid in find_processes_in(self.server.data_folder):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self.server.stop()


def main(folder: str, every: int) -> None:
    """Crash at every nth point and print what was wrong, as JSON."""
    crashing = CrashingServer(Path(folder))
    crashing.start()
    try:
        print(json.dumps(_sweep(crashing, every)), flush=True)
    finally:
        crashing.stop()


def _sweep(crashing: CrashingServer, every: int) -> dict[str, object]:
    os.environ["DATABASE_URL"] = crashing.server.url
    os.environ["DATABASE_PREFIX"] = "test_crash"
    from tests.mail_server import FakeMailServer

    mail_server = FakeMailServer()
    mail_server.start()
    os.environ["EMAIL_PORT"] = str(mail_server.port)
    django.setup()
    from django.core.management import call_command

    from shop.calls import services
    from shop.db import leases
    from tests.chaos.crash_experiment import CrashExperiment, record_points

    for command in ("databases", "migrate", "databases"):
        call_command(command, verbosity=0, stdout=sys.stderr)
    services.bind_all()
    leases.RENEWAL_INTERVAL_SECONDS = 3600.0  # the points that are reached must not depend on how fast the machine is
    with tempfile.TemporaryDirectory() as recordings:
        injections = record_points(Path(recordings))
    experiment = CrashExperiment(crashing, mail_server, injections[::every])
    experiment.run()
    problems = experiment.find_problems()
    call_command("verify", stdout=sys.stderr)
    mail_server.stop()
    return {"points": len(injections), "losses": crashing.losses, "problems": problems}


def pass_time() -> None:
    """Let all leases run out and all pauses be over, on connections of their own."""
    from tests.chaos.row_locks import connection_parameters

    for context in ("orders", "payments", "inventory", "notifications"):
        with psycopg.connect(**connection_parameters(context), autocommit=True) as session:
            for sql in (*KERNEL_SQL, *filter(None, [CONTEXT_SQL.get(context)])):
                session.execute(sql)


def is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
