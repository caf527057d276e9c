"""Measure rounds: put load on one system, and count what it costs."""

import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from statistics import median

from bench.operations import VARIANTS, sku
from bench.postgres import Statement, is_check, is_frame
from bench.processes import Failed
from bench.systems import ROOT, System

SETTLING_SECONDS = 0.3  # pause after a thaw


@dataclass(frozen=True)
class Figures:
    """The result of one round. CPU is in milliseconds; CPU, statements and transactions are per operation."""

    per_second: float
    p50: float
    p95: float
    p99: float
    app_cpu: float
    database_cpu: float
    loader_cpu: float
    statements: float  # sent by the shop, without BEGIN, COMMIT and the like and without foreign key checks
    frame: float  # BEGIN, COMMIT and the like
    writes: float  # transactions that wrote something
    fsyncs: float  # of the log of PostgreSQL
    wal_kilobytes: float
    drain: float  # seconds from the last response until every event was handled
    count: int
    refused: float = 0  # requests that were refused because the shop was overloaded, and repeated later


def load(
    system: System, operation: str, clients: int, seconds: float, seed: int, limit: int = 10**9
) -> dict[str, float]:
    """Run the loader and return its figures. Raises Failed if any response was wrong."""
    job = {
        "port": system.port, "operation": operation, "clients": clients, "seconds": seconds, "seed": seed,
        "products": system.products, "limit": limit,
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "bench.load"],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    if done.returncode:
        raise Failed(f"{system.name}, {operation}: {done.stderr.strip()}")
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


@contextmanager
def changing(system: System, per_second: float) -> Iterator[None]:
    """Change the stock of random SKUs meanwhile, since a catalogue that never changes favours caches."""
    ended, rng = threading.Event(), random.Random(per_second)

    def change() -> None:
        while not ended.wait(1 / per_second):
            system.restock(sku(rng.randrange(system.products), rng.randrange(VARIANTS)))

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(change) if per_second else None
        try:
            yield
        finally:
            ended.set()
        if running:
            running.result()  # raises what went wrong


def measured(
    system: System, operation: str, clients: int, seconds: float, seed: int, changes: float = 0
) -> tuple[Figures, list[Statement]]:
    """Run one round on a thawed system, until all its events are handled."""
    postgres = system.postgres
    sold, app, database, writes = system.orders(), system.cpu(), postgres.cpu(), postgres.writes()
    disk_use = postgres.disk_use()
    postgres.forget()
    with changing(system, changes):
        loaded = load(system, operation, clients, seconds, seed)
    ended, n = loaded["ended"], loaded["count"]
    if operation == "orders":
        ended = system.settle()
        system.await_receipts()
        if (more := system.orders() - sold) != n:
            raise Failed(f"{system.name} confirmed {n} orders with 201, but its tables have {more} more")
    statements, written = postgres.statements(), postgres.disk_use()
    frame = sum(one.calls for one in statements if is_frame(one.text))
    own = sum(one.calls for one in statements if not is_frame(one.text) and not is_check(one.text))
    return Figures(
        per_second=n / (ended - loaded["began"]),
        p50=loaded["p50"], p95=loaded["p95"], p99=loaded["p99"],
        app_cpu=1000 * (system.cpu() - app) / n,
        database_cpu=1000 * (postgres.cpu() - database) / n,
        loader_cpu=1000 * loaded["cpu"] / n,
        statements=own / n,
        frame=frame / n,
        writes=(postgres.writes() - writes) / n,
        fsyncs=(written.fsyncs - disk_use.fsyncs) / n,
        wal_kilobytes=(written.wal_bytes - disk_use.wal_bytes) / 1000 / n,
        drain=ended - loaded["ended"],
        count=int(n),
        refused=loaded["refused"] / n,
    ), statements  # fmt: skip


def rounds(
    systems: list[System], operation: str, clients: int, seconds: float, times: int, changes: float = 0
) -> dict[str, list[Figures]]:
    """Measure the systems in turn, several times, each frozen while another one is measured."""
    found: dict[str, list[Figures]] = {system.name: [] for system in systems}
    for number in range(times):
        seed = 100 * clients + number  # a new one for each load, since used idempotency keys would only be replayed
        for system in systems:
            system.thaw()
            time.sleep(SETTLING_SECONDS)
            try:
                found[system.name].append(measured(system, operation, clients, seconds, seed, changes)[0])
            except Failed as error:
                raise Failed(f"{error}\n{system.read_log_end()}") from None
            finally:
                system.freeze()
    return found


def median_round(found: list[Figures]) -> Figures:
    """Return the median of each figure."""
    return Figures(**{name: median(getattr(one, name) for one in found) for name in asdict(found[0])})
