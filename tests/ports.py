"""Ports for the servers that tests start."""

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path
from typing import IO

FIRST_PORT, LAST_PORT = 20_000, 31_999  # below those that the system gives to clients (net.ipv4.ip_local_port_range)
LOCK_FOLDER = Path(tempfile.gettempdir(), f"satsuma-ports-{os.getuid()}")

_locks: list[IO[str]] = []  # one for each port of this process


def reserve_port() -> int:
    """Reserve a port on loopback for the life of this process.

    A port that is only looked up can be taken before its server binds it, or while its server is down: by another test
    run, or by the system for a client's connection. A reserved one cannot.
    """
    LOCK_FOLDER.mkdir(exist_ok=True)
    while True:
        port = random.SystemRandom().randint(FIRST_PORT, LAST_PORT)
        lock = (LOCK_FOLDER / str(port)).open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:  # another test run has it, or a server that knows nothing of these locks
            lock.close()
            continue
        _locks.append(lock)
        return port
