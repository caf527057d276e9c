"""One round: load on one system, and what it cost."""

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

from bench.machine import Failed
from bench.operations import VARIANTS, sku
from bench.postgres import Statement, is_check, is_frame
from bench.systems import ROOT, System

SETTLING = 0.3  # seconds after a thaw


@dataclass(frozen=True)
class Figures:
    """What one round came to. CPU in milliseconds, SQL and transactions in numbers, each per operation."""

    per_second: float
    p50: float
    p95: float
    p99: float
    app_cpu: float
    database_cpu: float
    loader_cpu: float
    statements: float  # that the shop sent, transactions' frames and PostgreSQL's own checks of foreign keys aside
    frame: float  # BEGIN, COMMIT and the like
    writes: float  # transactions that wrote something
    drain: float  # seconds from the last answer until every event was handled
    count: int


def load(
    system: System, operation: str, clients: int, seconds: float, seed: int, limit: int = 10**9
) -> dict[str, float]:
    """Run the loader. Raises Failed with its sentence where any answer was wrong."""
    job = {
        "port": system.port, "operation": operation, "clients": clients, "seconds": seconds, "seed": seed,
        "products": system.products, "limit": limit,
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "bench.load"], input=json.dumps(job), capture_output=True, text=True, cwd=ROOT, check=False
    )
    if done.returncode:
        raise Failed(f"{system.name}, {operation}: {done.stderr.strip()}")
    return json.loads(done.stdout)


@contextmanager
def changing(system: System, per_second: float) -> Iterator[None]:
    """Meanwhile, change the stock of some SKU so often: a catalogue at rest flatters whoever keeps answers."""
    ended, dice = threading.Event(), random.Random(per_second)

    def change() -> None:
        while not ended.wait(1 / per_second):
            system.restock(sku(dice.randrange(system.products), dice.randrange(VARIANTS)))

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(change) if per_second else None
        try:
            yield
        finally:
            ended.set()
        if running:
            running.result()  # or what went wrong


def measured(
    system: System, operation: str, clients: int, seconds: float, seed: int, changes: float = 0
) -> tuple[Figures, list[Statement]]:
    """One round on a thawed system, to the end of all that follows it."""
    postgres = system.postgres
    sold, app, database, writes = system.orders(), system.cpu(), postgres.cpu(), postgres.writes()
    postgres.forget()
    with changing(system, changes):
        loaded = load(system, operation, clients, seconds, seed)
    ended, n = loaded["ended"], loaded["count"]
    if operation == "orders":
        ended = system.settle()
        system.receipts()
        if (more := system.orders() - sold) != n:
            raise Failed(f"{system.name} answered 201 to {n} orders, and has {more} more")
    statements = postgres.statements()
    frame = sum(one.calls for one in statements if is_frame(one.text))
    asked = sum(one.calls for one in statements if not is_frame(one.text) and not is_check(one.text))
    return Figures(
        per_second=n / (ended - loaded["began"]),
        p50=loaded["p50"], p95=loaded["p95"], p99=loaded["p99"],
        app_cpu=1000 * (system.cpu() - app) / n,
        database_cpu=1000 * (postgres.cpu() - database) / n,
        loader_cpu=1000 * loaded["cpu"] / n,
        statements=asked / n,
        frame=frame / n,
        writes=(postgres.writes() - writes) / n,
        drain=ended - loaded["ended"],
        count=int(n),
    ), statements  # fmt: skip


def rounds(
    systems: list[System], operation: str, clients: int, seconds: float, times: int, changes: float = 0
) -> dict[str, list[Figures]]:
    """The systems in turn, again and again, each frozen while another is measured."""
    found: dict[str, list[Figures]] = {system.name: [] for system in systems}
    for number in range(times):
        seed = 100 * clients + number  # of no other load: orders with the keys of old ones are only answered
        for system in systems:
            system.thaw()
            time.sleep(SETTLING)
            try:
                found[system.name].append(measured(system, operation, clients, seconds, seed, changes)[0])
            except Failed as error:
                raise Failed(f"{error}\n{system.said()}") from None
            finally:
                system.freeze()
    return found


def middle(found: list[Figures]) -> Figures:
    """The median of each figure."""
    return Figures(**{name: median(getattr(one, name) for one in found) for name in asdict(found[0])})
