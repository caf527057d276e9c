"""Claim the ports of servers for a launcher: without, a second shop on a port would get a part of the requests of the first.

granian shares its port among its workers (SO_REUSEPORT), so it takes a port on which another granian listens without an error.
Standard library only.
"""

import errno
import socket
import sys
import time

RETRY_SECONDS = 0.1


class PortUnavailable(RuntimeError):
    """A port cannot be used; the message names it and the reason."""


def claim_port(host: str, port: int, *, wait_seconds: float = 0.0) -> socket.socket:
    """Claim a port until the returned socket is closed, or this process ends. Raises PortUnavailable.

    wait_seconds: how long to wait for a former server to end.
    """
    deadline = time.monotonic() + wait_seconds
    while True:
        claim = None
        try:
            claim = _lock(host, port)
            _try_bind(host, port)
            return claim
        except OSError as error:
            if claim:
                claim.close()
            if error.errno != errno.EADDRINUSE or time.monotonic() >= deadline:
                raise PortUnavailable(f"Port {port} cannot be used ({error.strerror or error}).") from None
        time.sleep(RETRY_SECONDS)


def _lock(host: str, port: int) -> socket.socket:
    """Exclude another launcher that has not begun to listen yet. Raises OSError.

    The name of a socket is a lock of the network namespace, as a port is, and ends with its process. Only Linux has it; on
    other systems two launchers that start at the same moment do not see each other.
    """
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        if sys.platform == "linux":
            claim.bind(f"\0satsuma-port-{host}-{port}")
    except OSError:
        claim.close()
        raise
    return claim


def _try_bind(host: str, port: int) -> None:
    """Raise OSError if a server listens on the port, or this process may not."""
    for family, _, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE):
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind(address)
