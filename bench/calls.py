"""Measure what a call through a bound interface costs, compared with a plain call: `python -m bench.calls`.

Prints microseconds as JSON: for calls in this process, the least CPU time of many batches; for calls to another process on
this machine, the median duration.
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
from typing import Protocol

from bench.offer_service import LOCAL_BINDING, LocalOfferService, Offer, offer_service
from bench.processes import Failed, wait_until
from shop.calls import services

CALLS = 2_000
REPEATS = 40
REMOTE_CALLS = 4_000
SKUS = ("B-000001-0", "B-000002-1", "B-000003-2")


class OfferCall(Protocol):
    """The measured method."""

    def __call__(self, *, skus: tuple[str, ...]) -> tuple[Offer, ...]: ...


def _measure_batch(call: OfferCall) -> float:
    """Run a batch of calls and return the microseconds of this thread's CPU for one call."""
    return 1e6 * timeit.timeit(lambda: call(skus=SKUS), number=CALLS, timer=time.thread_time) / CALLS


def bindings_to_measure() -> dict[str, OfferCall]:
    """Return the same call, made directly and through each transport within a process."""
    found: dict[str, OfferCall] = {"plain": LocalOfferService().offers}
    for transport in services.TRANSPORTS:
        services.configure({"shelf": LOCAL_BINDING}, transport)
        found[transport] = offer_service.offers
    return found


@contextmanager
def other_process() -> Iterator[OfferCall]:
    """Yield the same call to another process, which runs the same server as the processes of a shop."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen([
        sys.executable, "-m", "granian", "--interface", "wsgi", "--port", str(port), "--no-ws", "--log-level", "error",
        "--blocking-threads", "4", "bench.offer_service:application",
    ])  # fmt: skip
    try:
        wait_until(lambda: _listens(port), "the other process", timeout=30)
        services.configure({"shelf": f"http://127.0.0.1:{port}"}, "local")
        yield offer_service.offers
    finally:
        server.terminate()
        server.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _microseconds(call: Callable[[], object]) -> float:
    started_at = time.perf_counter()
    call()
    return 1e6 * (time.perf_counter() - started_at)


def main() -> int:
    bindings = bindings_to_measure()
    expected = bindings["plain"](skus=SKUS)
    with other_process() as remote:
        if any(call(skus=SKUS) != expected for call in (*bindings.values(), remote)):
            raise Failed("A transport returned another result than the plain call.")
        times = [_microseconds(lambda: remote(skus=SKUS)) for _ in range(REMOTE_CALLS)]
    batches = [{name: _measure_batch(call) for name, call in bindings.items()} for _ in range(REPEATS)]
    least = {name: min(one[name] for one in batches) for name in bindings}
    print(json.dumps(least | {"remote": statistics.median(times)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
