"""python -m bench.pause: for how long nobody can write a context that moves, with a million rows in it.

Two PostgreSQL with their data on disk, and writers on the context's own role, each with a connection at a time, which is
opened anew wherever the context is when it is lost, as the shop's are. What counts is the longest time between two
commits of any of them.
"""

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from bench.machine import Failed
from config.embedded import NoPostgres, Server
from config.up import _environment

ROOT = Path(__file__).parents[1]
CONTEXT = "payments"
WRITERS = 4
MOST_SECONDS = 1.0

_FILL = """
INSERT INTO shop_outboxevent
    (id, name, version, stream, sequence, occurred_at, hops, correlation_id, causation_id, traceparent, payload)
SELECT gen_random_uuid(), 'payments.payment_captured', 1, 'payments.payment:' || n, 1, now() - interval '20 days', 0,
       n::text, n::text, '', jsonb_build_object('order_id', gen_random_uuid(), 'amount', n, 'currency', 'EUR')
FROM generate_series(1, %(half)s) n;
INSERT INTO shop_delivery (event_id, subscriber, stream, sequence, acknowledged_at, attempts, error)
SELECT id, 'orders', stream, sequence, now(), 1, '' FROM shop_outboxevent WHERE hops = 0 LIMIT %(half)s;
ANALYZE"""

_WRITE = "INSERT INTO shop_idempotencykey (scope, key, fingerprint) VALUES (%s, %s, '')"


class Writers:
    """They write until they are told to stop; `gaps` are the times between two commits of any of them."""

    def __init__(self) -> None:
        self.commits: list[float] = []
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self._write, args=(n,)) for n in range(WRITERS)]

    def _write(self, n: int) -> None:
        from django.db import connections

        from shop.database import OUTAGES, rows

        count = 0
        while not self.stopping.is_set():
            count += 1
            try:
                rows(CONTEXT, _WRITE, [f"pause {n}", count])
                self.commits.append(time.monotonic())
            except OUTAGES:
                connections[CONTEXT].close()
        connections.close_all()

    def longest(self) -> float:
        if not all(thread.is_alive() for thread in self.threads):
            raise Failed("A writer has given up.")
        return max(later - one for one, later in itertools.pairwise([*sorted(self.commits), time.monotonic()]))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.pause", description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    wanted = parser.parse_args().rows
    try:
        (ROOT / ".data").mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="pause-", dir=ROOT / ".data") as folder:
            return _measure(Path(folder), wanted)
    except (Failed, NoPostgres) as error:
        print(error, file=sys.stderr)
        return 1


def _measure(folder: Path, wanted: int) -> int:
    old, new = Server(folder / "old"), Server(folder / "new")
    try:
        for server in (old, new):
            server.start()
        os.environ.update(_environment(folder, 8000) | {"DATABASE_URL": old.url, "ENGINE": "none"})
        for command in (["databases"], ["migrate", "-v0"]):
            _manage(*command)
        _fill(wanted)
        return _report(wanted, *_move(new.url.replace("/postgres?", f"/{CONTEXT}?")))
    finally:
        for server in (old, new):
            server.stop()


def _fill(wanted: int) -> None:
    import django

    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
    django.setup()
    from django.conf import settings

    from config.directory import administrator

    with administrator(settings.DATABASE_SERVER, settings.DATABASES[CONTEXT]["NAME"]) as connection:
        for statement in _FILL.split(";"):
            connection.execute(statement, {"half": wanted // 2} if "half" in statement else None)


def _move(target: str) -> tuple[float, float, str]:
    writers = Writers()
    for thread in writers.threads:
        thread.start()
    began = time.monotonic()
    try:
        said = _manage("peel", CONTEXT, "--to", target)
        return time.monotonic() - began, writers.longest(), said
    finally:
        writers.stopping.set()
        for thread in writers.threads:
            thread.join()


def _manage(*command: str) -> str:
    done = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), *command], env=os.environ, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Failed(f"manage.py {command[0]}: {done.stderr}")
    return done.stdout


def _report(wanted: int, took: float, longest: float, said: str) -> int:
    print(said)
    print(f"{wanted} rows moved in {took:.1f} s under {WRITERS} writers; the longest time between two commits: {longest:.3f} s")
    print(f"target: at most {MOST_SECONDS:g} s: {'met' if longest <= MOST_SECONDS else 'MISSED'}")
    return longest > MOST_SECONDS


if __name__ == "__main__":
    sys.exit(main())
