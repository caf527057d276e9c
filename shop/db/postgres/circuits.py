"""A time limit for every answer of a database, and a circuit breaker for each, so that one that hangs holds no threads.

A server limits its statements itself (`statement_timeout`), unless it hangs: a stopped process, a lost disk, a network that
drops packets. So a statement without an answer after SILENCE_SECONDS asks on a new connection whether the server still works
on it. If the server does not answer either, the circuit of the database opens: waiting statements are abandoned, and further
ones are refused at once, until a probe has succeeded.
"""

import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn, TypeVar

import psycopg
import structlog
from psycopg.abc import PQGen
from psycopg.errors import ConnectionTimeout
from psycopg.errors import _WaitTimeout as WaitTimeout

SILENCE_SECONDS = 1.0  # after which a statement without an answer probes the server; each time twice as long
CHECK_INTERVAL_SECONDS = 0.2  # how often a waiting statement looks whether the circuit has opened
PROBE_TIMEOUT_SECONDS = 2  # psycopg waits no less for a new connection
PROBE_WAIT_SECONDS = 8.0  # for another probe of the same server: longer than one takes
DEFAULT_PORT = 5432
END_TIMEOUT_SECONDS = 1.0  # a server that works ends a session within milliseconds
COOLDOWN_SECONDS = 1.0  # after which one thread probes a database whose circuit is open

R = TypeVar("R")
log = structlog.get_logger(__name__)


class DatabaseSilent(psycopg.OperationalError):
    """The database does not answer: what was sent may or may not have happened."""


class LimitedConnection(psycopg.Connection[Any]):
    """A connection that waits at most `answer_timeout` seconds for an answer. None means that the server limits statements."""

    answer_timeout: float | None = None

    def wait(self, gen: PQGen[R], interval: float = 0.1, timeout: float | None = None) -> R:
        """Wait for an answer. Raises DatabaseSilent, and closes the connection, if none arrives in time."""
        if timeout is not None:  # of psycopg itself, which expects its own error
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, self.answer_timeout)
        except WaitTimeout:
            self.abandon(f"no answer within {self.answer_timeout} s")

    def abandon(self, reason: str) -> NoReturn:
        """Close the connection, without a message to the server, and raise DatabaseSilent."""
        self.pgconn.finish()
        raise DatabaseSilent(reason)


class EndingSessions:
    """Sessions whose connections this process has closed, and that the server may not have ended yet."""

    def __init__(self) -> None:
        self.sockets: list[socket.socket] = []  # second handles, which show that the server has closed its side
        self.lock = threading.Lock()

    def close(self, connection: psycopg.Connection[Any]) -> None:
        """Close a connection. Does not wait for the server."""
        if not connection.closed:
            self.sockets.append(socket.socket(fileno=os.dup(connection.fileno())))
            connection.close()

    def wait(self) -> None:
        """Wait until the server has ended all of them: a new session then takes the place of one of them."""
        with self.lock:
            deadline = time.monotonic() + END_TIMEOUT_SECONDS
            while self.sockets:
                with self.sockets.pop() as one, suppress(OSError):
                    one.settimeout(max(0.01, deadline - time.monotonic()))
                    while one.recv(4096):
                        pass


class ProbeBusy(psycopg.OperationalError):
    """Other probes of the same server took too long to begin one more."""


class _ProbeSlot:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.silent_at = 0.0  # when a probe found that the server does not answer


_probe_slots: dict[tuple[str, str], _ProbeSlot] = {}  # by host and port


@contextmanager
def open_limited_connection(*, seconds: int = PROBE_TIMEOUT_SECONDS, **parameters: Any) -> Iterator[LimitedConnection]:
    """Open a connection for the block, whose attempt and whose answers may take `seconds` each.

    The pools leave room for one to each server. So it waits until no other thread has one. Raises psycopg.OperationalError:
    DatabaseSilent if that one finds that the server does not answer, ProbeBusy if it takes too long.
    """
    address = str(parameters.get("host") or ""), str(parameters.get("port") or DEFAULT_PORT)
    slot, began, ending = _probe_slots.setdefault(address, _ProbeSlot()), time.monotonic(), EndingSessions()
    if not slot.lock.acquire(timeout=PROBE_WAIT_SECONDS):
        raise ProbeBusy(f"no probe of the server could begin within {PROBE_WAIT_SECONDS} s")
    try:
        if slot.silent_at > began:
            raise DatabaseSilent("the server does not answer another probe")
        connection = LimitedConnection.connect(**parameters | {"connect_timeout": seconds, "autocommit": True})
        connection.answer_timeout = seconds
        try:
            yield connection
        finally:
            ending.close(connection)
            ending.wait()
    except (ConnectionTimeout, DatabaseSilent):
        slot.silent_at = time.monotonic()
        raise
    finally:
        slot.lock.release()


class Circuit:
    """The circuit breaker of one database in this process."""

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self.is_open = False
        self.opened_at = 0.0
        self.next_probe_at = 0.0
        self.address: dict[str, Any] = {}  # of the connection that found the database silent
        self.discard_idle: Callable[[], None] = lambda: None  # set with the pool
        self.lock = threading.Lock()

    def open(self, address: dict[str, Any]) -> None:
        """Refuse statements from now on, and replace idle connections, which hang too."""
        if not self.is_open:
            log.warning("circuit_opened", context=self.alias)
        self.address, self.opened_at, self.is_open = address, time.monotonic(), True
        self.next_probe_at = self.opened_at + COOLDOWN_SECONDS
        self.discard_idle()

    def assert_closed(self) -> None:
        """Raise DatabaseSilent while the circuit is open. After a cooldown, one thread probes the database instead."""
        if self.is_open and not (self._try_start_probe() and self.is_answering(self.address)):
            raise DatabaseSilent(f"the database of {self.alias} does not answer")

    def is_answering(self, address: dict[str, Any], pid: int | None = None) -> bool:
        """Return whether the server accepts a connection, and works on the statement of the session `pid`.

        Opens the circuit if the server does not answer, and closes it if it does.
        """
        try:
            with open_limited_connection(**address) as probe:
                row = probe.execute("SELECT state FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone()
        except (ConnectionTimeout, DatabaseSilent):
            self.open(address)
            return False
        except ProbeBusy:
            return not self.is_open  # unknown: as before
        except psycopg.OperationalError:
            row = None  # refused: the server answers
        self._close()
        return row is None or row[0] in (None, "active", "fastpath function call")

    def _close(self) -> None:
        if self.is_open:
            log.info("circuit_closed", context=self.alias)
        self.is_open = False

    def _try_start_probe(self) -> bool:
        """Return whether this thread may probe the database. Others are refused until the probe has ended."""
        now = time.monotonic()
        with self.lock:
            if now < self.next_probe_at:
                return False
            self.next_probe_at = now + 2 * PROBE_TIMEOUT_SECONDS
            return True


_circuits: dict[str, Circuit] = {}


def get_circuit(alias: str) -> Circuit:
    return _circuits.get(alias) or _circuits.setdefault(alias, Circuit(alias))


class GuardedConnection(LimitedConnection):
    """A connection of a context: a statement that waits for long probes the server, and is abandoned if it hangs."""

    circuit: Circuit

    def wait(self, gen: PQGen[R], interval: float = 0.1, timeout: float | None = None) -> R:
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        silence = min(SILENCE_SECONDS, self.answer_timeout or SILENCE_SECONDS)
        try:
            return super().wait(gen, interval, silence)
        except WaitTimeout:
            return self._wait_longer(gen, interval, time.monotonic() - silence)

    def _wait_longer(self, gen: PQGen[R], interval: float, began: float) -> R:
        silence = SILENCE_SECONDS
        while True:
            waited = time.monotonic() - began
            if self.answer_timeout is not None and waited >= self.answer_timeout:
                self.circuit.discard_idle()
                self.abandon(f"no answer within {self.answer_timeout} s")
            if self.circuit.is_open and self.circuit.opened_at > began:
                self.abandon("the database does not answer")
            if waited >= silence:
                silence *= 2
                self._probe_server()
            try:
                return super().wait(gen, interval, CHECK_INTERVAL_SECONDS)
            except WaitTimeout:
                continue

    def _probe_server(self) -> None:
        """Abandon the statement if the server hangs, or if this session does and has not even begun to work on it."""
        parameters = {**self.info.get_parameters(), "password": self.info.password}
        parameters.pop("application_name", None)
        if self.circuit.is_answering(parameters, self.info.backend_pid):
            return
        if not select.select([self.pgconn.socket], [], [], 0)[0]:  # it has not answered in between
            self.circuit.discard_idle()
            self.abandon("the database does not answer")
