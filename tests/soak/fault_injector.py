"""Inject the faults of the plan into the running shop, each after its number of orders."""

import signal
import threading
import time
from collections import Counter
from typing import Any, cast

import psycopg

from ops.console.request_log import RequestLog
from ops.launch.postgres import PostgresServer
from tests.soak.buyers import Progress
from tests.soak.mail_server import MailServer
from tests.soak.plan import Fault
from tests.soak.recovery import Recovery
from tests.soak.supervisor import Supervisor
from tests.soak.workers import Broker


class FaultInjector:
    """Inject one fault after the other in a thread, and count them by kind and target."""

    def __init__(
        self, schedule: list[Fault], *, supervisor: Supervisor, database: PostgresServer, prefix: str, mail: MailServer,
        history: RequestLog, progress: Progress, recovery: Recovery,
    ) -> None:  # fmt: skip
        self.schedule, self.supervisor, self.database, self.prefix = schedule, supervisor, database, prefix
        self.mail, self.history, self.progress, self.recovery = mail, history, progress, recovery
        self.injected_counts: Counter[str] = Counter()
        self.failure: BaseException | None = None
        self.thread = threading.Thread(target=self._run, name="faults", daemon=True)

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        """Wait for the last fault, then end those that continue: failure modes of the mail server and armed chaos points."""
        self.thread.join()
        if self.failure:
            raise self.failure
        self.mail.set_mode("well")
        self.supervisor.restart_all(CHAOS="")

    def _run(self) -> None:
        try:
            for fault in self.schedule:
                self.progress.mark_injected(fault.at)
                self.progress.await_begun(fault.at)
                self.inject(fault)
        except BaseException as error:
            self.failure = error
        self.progress.mark_injected(self.progress.orders)

    def inject(self, fault: Fault) -> None:
        self.history.note("fault", kind=fault.kind, target=fault.target, seconds=fault.seconds)
        getattr(self, f"_{fault.kind.replace('-', '_')}")(fault)
        name = fault.target if fault.kind == "mail" else fault.target.rpartition("-")[0] or fault.target
        self.injected_counts[f"{fault.kind} {name}"] += 1

    def _kill(self, fault: Fault) -> None:
        """Kill a working process (SIGKILL), and start it again later."""
        self.supervisor.await_up(fault.target)
        self.supervisor.processes[fault.target].kill()
        self.recovery.watch(fault.target)
        self.supervisor.start_later(fault.target, fault.seconds)

    def _stop(self, fault: Fault) -> None:
        """Stop a process with SIGTERM, as a deployment does, and start it again later."""
        self.supervisor.await_up(fault.target)
        self.supervisor.stop(fault.target)
        self.supervisor.start_later(fault.target, fault.seconds)

    def _pause(self, fault: Fault) -> None:
        """Suspend a process (SIGSTOP): it does not notice, and others may take over its work meanwhile."""
        self.supervisor.await_up(fault.target)
        self.supervisor.processes[fault.target].signal(signal.SIGSTOP)
        self.supervisor.resume_later(fault.target, fault.seconds)

    def _flush(self, fault: Fault) -> None:
        """Delete all messages of the broker."""
        self._broker(fault).flush()

    def _broker_kill(self, fault: Fault) -> None:
        """Kill the broker (SIGKILL), and start it again later without its messages."""
        self._broker(fault).kill()
        self.supervisor.start_later(fault.target, fault.seconds)

    def _broker_pause(self, fault: Fault) -> None:
        """Suspend the broker (SIGSTOP): connections are accepted, but get no response."""
        self._pause(fault)

    def _broker(self, fault: Fault) -> Broker:
        self.supervisor.await_up(fault.target)
        return cast(Broker, self.supervisor.processes[fault.target])

    def _database(self, fault: Fault) -> None:
        """Kill the database server (SIGKILL), and start it with crash recovery."""
        self.database.kill()
        time.sleep(fault.seconds)
        self.database.start()
        self.history.note("fault", kind="database started", target="postgres")

    def _connections(self, fault: Fault) -> None:
        """Terminate every database session of one context, or of all."""
        names = f"{self.prefix}_%" if fault.target == "all" else f"{self.prefix}_{fault.target}"
        with psycopg.connect(_build_conninfo(self.database)) as connection:
            terminate: Any = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname LIKE %s"
            connection.execute(terminate, [names])

    def _mail(self, fault: Fault) -> None:
        self.mail.set_mode(fault.target)
        self.supervisor.later(fault.seconds, lambda: self.mail.set_mode("well"))


def _build_conninfo(database: PostgresServer) -> str:
    return f"host={database.socket} user=postgres dbname=postgres"
