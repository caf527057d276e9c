"""What a call through a bound interface costs beside a plain one: `python -m bench.calls` prints it in microseconds.

In process, the least CPU of many batches. Remote, to another process on this machine, half of the calls take no longer.
"""

import json
import socket
import statistics
import subprocess
import sys
import time
import timeit
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bench.machine import Failed, wait_until
from bench.shelf import LOCAL, LocalShelf, shelf
from shop import services

CALLS = 2_000
REPEATS = 40
REMOTE_CALLS = 4_000
SKUS = ("B-000001-0", "B-000002-1", "B-000003-2")


def batch(call: Callable[[], object]) -> float:
    """Microseconds of this thread's CPU for one call, from one batch of them."""
    return 1e6 * timeit.timeit(call, number=CALLS, timer=time.thread_time) / CALLS


def ways() -> dict[str, Callable[[], object]]:
    """The same question, put plainly and through each transport within a process."""
    found: dict[str, Callable[[], object]] = {"plain": LocalShelf().offers}
    for transport in services.TRANSPORTS:
        services.configure({"shelf": LOCAL}, transport)
        found[transport] = shelf.offers
    return found


@contextmanager
def elsewhere() -> Iterator[Callable[[], object]]:
    """The same question to another process, which runs the server that the shop's processes run."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--port", str(port), "--no-ws", "--log-level", "error"]
    server = subprocess.Popen([*command, "--blocking-threads", "4", "bench.shelf:application"])
    try:
        wait_until(lambda: _listens(port), "the other process", patience=30, pause=0.05)
        services.configure({"shelf": f"http://127.0.0.1:{port}"}, "local")
        yield shelf.offers
    finally:
        server.terminate()
        server.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _microseconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return 1e6 * (time.perf_counter() - began)


def main() -> int:
    asked = ways()
    plain = asked["plain"](skus=SKUS)  # type: ignore[call-arg]
    with elsewhere() as remote:
        if any(way(skus=SKUS) != plain for way in (*asked.values(), remote)):  # type: ignore[call-arg]
            raise Failed("a transport answers something else")
        took = [_microseconds(lambda: remote(skus=SKUS)) for _ in range(REMOTE_CALLS)]  # type: ignore[call-arg]
    batches = [{name: batch(lambda way=way: way(skus=SKUS)) for name, way in asked.items()} for _ in range(REPEATS)]
    print(json.dumps({name: min(one[name] for one in batches) for name in asked} | {"remote": statistics.median(took)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
