"""Measure how long writes to a context are blocked while it moves with a million rows: `python -m bench.pause`.

There are two PostgreSQL servers with their data on disk, and writers with the role of the context. A writer whose
connection is lost reconnects to wherever the context is, as the shop does. The result is the longest time between two
commits of any writer.
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

from bench.processes import Failed
from ops.launch.postgres import PostgresServer, PostgresUnavailable
from ops.launch.up import build_environment

ROOT = Path(__file__).parents[1]
CONTEXT = "payments"
WRITERS = 4
MAX_PAUSE_SECONDS = 1.0

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
    """Write in threads until they are stopped, and record the time of each commit."""

    def __init__(self) -> None:
        self.commits: list[float] = []
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self._write, args=(n,)) for n in range(WRITERS)]

    def _write(self, n: int) -> None:
        from django.db import connections

        from shop.db.database import OUTAGE_ERRORS, fetch_rows

        count = 0
        while not self.stopping.is_set():
            count += 1
            try:
                fetch_rows(CONTEXT, _WRITE, [f"pause {n}", count])
                self.commits.append(time.monotonic())
            except OUTAGE_ERRORS:
                connections[CONTEXT].close()
        connections.close_all()

    def longest_gap(self) -> float:
        """Return the longest time between two commits, in seconds. Raises Failed if a writer has died."""
        if not all(thread.is_alive() for thread in self.threads):
            raise Failed("A writer has died; see its traceback above.")
        return max(later - one for one, later in itertools.pairwise([*sorted(self.commits), time.monotonic()]))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.pause", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="number of rows (default: %(default)s)")
    rows = parser.parse_args().rows
    try:
        (ROOT / ".data").mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="pause-", dir=ROOT / ".data") as folder:
            return _measure(Path(folder), rows)
    except (Failed, PostgresUnavailable) as error:
        print(error, file=sys.stderr)
        return 1


def _measure(folder: Path, rows: int) -> int:
    old, new = PostgresServer(folder / "old"), PostgresServer(folder / "new")
    try:
        for server in (old, new):
            server.start()
        os.environ.update(build_environment(folder, 8000) | {"DATABASE_URL": old.url, "ENGINE": "none"})
        for command in (["databases"], ["migrate", "-v0"]):
            _manage(*command)
        _fill(rows)
        return _report(rows, *_move(new.url.replace("/postgres?", f"/{CONTEXT}?")))
    finally:
        for server in (old, new):
            server.stop()


def _fill(rows: int) -> None:
    import django

    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
    django.setup()
    from django.conf import settings

    from ops.peel.directory import connect_as_administrator

    with connect_as_administrator(settings.DATABASE_SERVER, settings.DATABASES[CONTEXT]["NAME"]) as connection:
        for statement in _FILL.split(";"):
            connection.execute(statement, {"half": rows // 2} if "half" in statement else None)


def _move(target: str) -> tuple[float, float, str]:
    """Move the context under load. Returns the seconds that it took, the longest gap, and the output of the command."""
    writers = Writers()
    for thread in writers.threads:
        thread.start()
    started_at = time.monotonic()
    try:
        output = _manage("peel", CONTEXT, "--to", target)
        return time.monotonic() - started_at, writers.longest_gap(), output
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


def _report(rows: int, seconds: float, longest_gap: float, output: str) -> int:
    print(output)
    print(
        f"{rows} rows moved in {seconds:.1f} s under {WRITERS} writers; "
        f"the longest time between two commits was {longest_gap:.3f} s"
    )
    is_met = longest_gap <= MAX_PAUSE_SECONDS
    print(f"target: at most {MAX_PAUSE_SECONDS:g} s: {'met' if is_met else 'MISSED'}")
    return int(not is_met)


if __name__ == "__main__":
    sys.exit(main())
