"""Run the process tree of a shop: the web servers and their workers, under a parent that forwards signals and reaps children.

Standard library only, so that the parent uses little memory. It is what a container runs: process 1 has to reap orphans,
exit in time when it is asked to stop, start a server again that is killed, and fail when the server below it keeps failing.
"""

import os
import subprocess
import sys
from pathlib import Path

from config.contexts import ALL_CONTEXTS
from ops.launch.ports import PortUnavailable, claim_port
from ops.launch.process_tree import ProcessTree

WORKER_STOP_TIMEOUT_SECONDS = 15  # how long a worker may take to finish its requests; then it is killed
PORT_TIMEOUT_SECONDS = 5.0  # how long a former server may take to leave its port
PREPARED_FLAG = (
    "--prepared"  # argument of a caller that has claimed the ports, checked the settings and migrated the databases
)
LOG_CONFIG_PATH = Path(__file__).with_name("granian.json")
MANAGE_PATH = Path(__file__).resolve().parents[2] / "manage.py"


class LaunchError(RuntimeError):
    """The shop cannot start; the message explains what the operator has to change."""


def read_integer(name: str, default: int, maximum: int, minimum: int = 1) -> int:
    """Read a whole number from the environment. Raises LaunchError with the name of the variable."""
    value = os.environ.get(name) or str(default)
    if not (value.isascii() and value.isdecimal() and minimum <= int(value) <= maximum):
        raise LaunchError(f"{name} is {value!r}; it must be a number from {minimum} to {maximum}")
    return int(value)


def build_server_command(*, host: str, port: int, workers: int, application: str = "config.wsgi") -> list[str]:
    """Build the command of a web server. It replaces a worker that exits, and exits itself if workers keep failing.

    Its event loop receives requests, and threads of the application handle them (shop/request_buffer.py).
    """
    logs = [] if os.environ.get("LOG_FORMAT") == "text" else ["--log-config", str(LOG_CONFIG_PATH)]
    return [
        sys.executable, "-m", "granian", "--interface", "rsgi", "--host", host, "--port", str(port), "--no-ws",
        "--workers", str(workers), "--loop", "asyncio", "--respawn-failed-workers",
        "--workers-kill-timeout", str(WORKER_STOP_TIMEOUT_SECONDS), "--log-level", "warning", *logs,
        f"{application}:server",
    ]  # fmt: skip


def main() -> int:
    is_prepared = PREPARED_FLAG in sys.argv[1:]
    try:
        addresses = _read_addresses()
        servers = _build_server_commands(addresses)
        drain_seconds = read_integer("DRAIN_SECONDS", 0, 600, minimum=0)
        preparations = [] if is_prepared else _build_preparation_commands()
        claims = [] if is_prepared else [claim_port(*one, wait_seconds=PORT_TIMEOUT_SECONDS) for one in addresses]
    except (LaunchError, PortUnavailable) as error:
        print(error, file=sys.stderr)
        return 2
    tree = ProcessTree(drain_seconds)
    for command in preparations:
        if (status := tree.run(command, output=subprocess.DEVNULL)) or tree.is_stopping:  # errors are on stderr
            return status
    status = tree.serve(*servers)
    for claim in claims:
        claim.close()
    return status


def _read_addresses() -> list[tuple[str, int]]:
    """Read host and port of the public server, and of the internal one for other processes if INTERNAL_PORT is set."""
    public = os.environ.get("WEB_HOST") or "0.0.0.0", read_integer("PORT", 8000, 65535)  # noqa: S104 - a container's network
    if not os.environ.get("INTERNAL_PORT"):
        return [public]
    internal = os.environ.get("INTERNAL_HOST") or "127.0.0.1", read_integer("INTERNAL_PORT", 8001, 65535)
    if public[1] == internal[1]:
        raise LaunchError(f"PORT and INTERNAL_PORT are both {public[1]}; each server needs a port of its own")
    return [public, internal]


def _build_server_commands(addresses: list[tuple[str, int]]) -> list[list[str]]:
    workers = read_integer("WEB_WORKERS", 2, 64)
    servers = (("config.wsgi", workers), ("config.internal", 1))
    return [
        build_server_command(host=host, port=port, workers=count, application=application)
        for (host, port), (application, count) in zip(addresses, servers, strict=False)
    ]


def _build_preparation_commands() -> list[list[str]]:
    """Build the commands that run before the servers, so that a wrong setting is reported once and not by each worker."""
    migrate_on_start = os.environ.get("MIGRATE_ON_START") or "false"
    if migrate_on_start not in ("true", "false"):
        raise LaunchError(f"MIGRATE_ON_START is {migrate_on_start!r}; it must be true or false")
    migrate = [sys.executable, str(MANAGE_PATH), "migrate", "--verbosity", "0"]
    return [build_check_command(), *([migrate] if migrate_on_start == "true" else [])]


def build_check_command() -> list[str]:
    """Build the command that checks settings and databases. Databases that cannot be reached are skipped."""
    contexts = [name.strip() for name in (os.environ.get("CONTEXTS") or ",".join(ALL_CONTEXTS)).split(",")]
    return [sys.executable, str(MANAGE_PATH), "check", *(f"--database={context}" for context in contexts)]


if __name__ == "__main__":
    sys.exit(main())
