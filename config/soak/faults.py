"""Faults: what the plan says, done to the shop that runs, each at its place in the order of things."""

import signal
import threading
import time
from collections import Counter
from typing import Any, cast

import psycopg

from config.embedded import Server
from config.soak.buyers import Progress
from config.soak.history import History
from config.soak.mail import MailServer
from config.soak.plan import Fault
from config.soak.recovery import Recovery
from config.soak.supervisor import Supervisor
from config.soak.workers import Broker

ACCEPTING = 30.0  # seconds that PostgreSQL may take to recover


class Faults:
    """Strikes one fault after the other, in a thread of its own; and counts what it did."""

    def __init__(
        self, schedule: list[Fault], *, supervisor: Supervisor, database: Server, prefix: str, mail: MailServer,
        history: History, progress: Progress, recovery: Recovery,
    ) -> None:  # fmt: skip
        self.schedule, self.supervisor, self.database, self.prefix = schedule, supervisor, database, prefix
        self.mail, self.history, self.progress, self.recovery = mail, history, progress, recovery
        self.struck: Counter[str] = Counter()
        self.failure: BaseException | None = None
        self.thread = threading.Thread(target=self._run, name="faults", daemon=True)

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        """Wait for the last one, then end those that go on: paused processes, moods, what is inside. Raises what went wrong."""
        self.thread.join()
        if self.failure:
            raise self.failure
        self.mail.set_mood("well")
        self.supervisor.restart_all(CHAOS="")

    def _run(self) -> None:
        try:
            for fault in self.schedule:
                self.progress.strike(fault.at)
                self.progress.await_begun(fault.at)
                self._strike(fault)
        except BaseException as error:
            self.failure = error
        self.progress.strike(self.progress.orders)

    def _strike(self, fault: Fault) -> None:
        self.history.note("fault", kind=fault.kind, target=fault.target, seconds=fault.seconds)
        getattr(self, f"_{fault.kind.replace('-', '_')}")(fault)
        name = fault.target if fault.kind == "mail" else fault.target.rpartition("-")[0] or fault.target
        self.struck[f"{fault.kind} {name}"] += 1

    def _kill(self, fault: Fault) -> None:
        """SIGKILL of a process at work, and a new one after a while."""
        self.supervisor.await_up(fault.target)
        self.supervisor.processes[fault.target].kill()
        self.recovery.watch(fault.target)
        self.supervisor.start_later(fault.target, fault.seconds)

    def _stop(self, fault: Fault) -> None:
        """SIGTERM, as a deployment does."""
        self.supervisor.await_up(fault.target)
        self.supervisor.stop(fault.target)
        self.supervisor.start_later(fault.target, fault.seconds)

    def _pause(self, fault: Fault) -> None:
        """SIGSTOP: the process does not know that it was away, and others may have taken over meanwhile."""
        self.supervisor.await_up(fault.target)
        self.supervisor.processes[fault.target].signal(signal.SIGSTOP)
        self.supervisor.resume_later(fault.target, fault.seconds)

    def _flush(self, fault: Fault) -> None:
        """The broker forgets what it carries."""
        self._broker(fault).flush()

    def _broker_kill(self, fault: Fault) -> None:
        """SIGKILL of the broker, which is away for a while and comes back with nothing."""
        self._broker(fault).kill()
        self.supervisor.start_later(fault.target, fault.seconds)

    def _broker_pause(self, fault: Fault) -> None:
        """SIGSTOP: the system takes what is sent to it, and nobody answers."""
        self._pause(fault)

    def _broker(self, fault: Fault) -> Broker:
        self.supervisor.await_up(fault.target)
        return cast(Broker, self.supervisor.processes[fault.target])

    def _database(self, fault: Fault) -> None:
        """SIGKILL of the postmaster, and a start with crash recovery."""
        self.database.kill()
        time.sleep(fault.seconds)
        self.database.start()
        self.history.note("fault", kind="database is back", target="postgres")

    def _connections(self, fault: Fault) -> None:
        """Every session of one context, or of all, is cut off in the middle of what it does."""
        names = f"{self.prefix}_%" if fault.target == "all" else f"{self.prefix}_{fault.target}"
        with psycopg.connect(_conninfo(self.database)) as connection:
            cut: Any = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname LIKE %s"
            connection.execute(cut, [names])

    def _mail(self, fault: Fault) -> None:
        self.mail.set_mood(fault.target)
        self.supervisor.later(fault.seconds, lambda: self.mail.set_mood("well"))


def _conninfo(database: Server) -> str:
    return f"host={database.socket} user=postgres dbname=postgres"
