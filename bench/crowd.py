"""Let a thousand buyers order the last units of a SKU at the same moment: `python -m bench.crowd`.

Each buyer has a connection and sends its order when all are connected. Exactly the units in stock may be sold; all other
buyers must get `inventory.out_of_stock`. The server has the layout of production: two workers with four threads, and
PostgreSQL with its data on disk. Its queue of checkouts takes all of them.
"""

import argparse
import asyncio
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.launch import serve
from ops.launch.postgres import PostgresServer, PostgresUnavailable
from ops.launch.up import build_environment

ROOT = Path(__file__).parents[1]
ADDRESS = {"name": "Ada Buyer", "line1": "1 Main Street", "city": "Berlin", "postal_code": "10115", "country": "DE"}
SPARE_DESCRIPTORS = 100  # file descriptors besides those of the buyers' sockets
RESPONSE_TIMEOUT_SECONDS = 60.0
SOLD, OUT_OF_STOCK = "201", "409 inventory.out_of_stock"
MAX_P99_SECONDS = 5.0


class Failed(RuntimeError):
    """The run cannot go on; the message explains what to change."""


@dataclass(frozen=True)
class BuyerResult:
    """The response to one buyer, and the seconds since all buyers were connected."""

    outcome: str
    seconds: float


def reserve_descriptors(sockets: int) -> None:
    """Raise the limit of open files so that it allows this many sockets. Raises Failed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = sockets + SPARE_DESCRIPTORS
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    except (ValueError, OSError):
        raise Failed(
            f"{sockets} buyers need {needed} open files, but the hard limit is {hard}: use fewer --buyers, or raise it "
            "(ulimit -Hn)"
        ) from None


def buy_concurrently(port: int, *, sku: str, buyers: int) -> list[BuyerResult]:
    """Let each buyer order one unit, all at the same time."""
    reserve_descriptors(buyers)
    return asyncio.run(_buy_concurrently(port, sku, buyers))


async def _buy_concurrently(port: int, sku: str, buyers: int) -> list[BuyerResult]:
    connected = asyncio.Barrier(buyers)
    return await asyncio.gather(*(_buy(port, sku, connected) for _ in range(buyers)))


async def _buy(port: int, sku: str, connected: asyncio.Barrier) -> BuyerResult:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError as error:
        await connected.wait()
        return BuyerResult(f"no connection ({type(error).__name__})", 0.0)
    await connected.wait()
    started_at = time.perf_counter()
    outcome = await _send_order(reader, writer, sku)
    writer.close()
    return BuyerResult(outcome, time.perf_counter() - started_at)


async def _send_order(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sku: str) -> str:
    try:
        writer.write(_build_order_request(sku))
        return _summarize(await asyncio.wait_for(reader.read(), RESPONSE_TIMEOUT_SECONDS))
    except (TimeoutError, OSError) as error:
        return f"no response ({type(error).__name__})"


def _build_order_request(sku: str) -> bytes:
    order = {
        "items": [{"sku": sku, "quantity": 1}],
        "email": f"{uuid.uuid4().hex}@example.com",
        "shipping_address": ADDRESS,
        "payment_method": {"provider": "sandbox", "token": "tok_ok"},
    }
    body = json.dumps(order).encode()
    head = ("POST /api/v1/orders HTTP/1.1", "Host: 127.0.0.1", "Connection: close", "Content-Type: application/json",
            f"Idempotency-Key: {uuid.uuid4().hex}", f"Content-Length: {len(body)}", "", "")  # fmt: skip
    return "\r\n".join(head).encode() + body


def _summarize(response: bytes) -> str:
    """Return the status of a response; of an error, status and code."""
    head, _, body = response.partition(b"\r\n\r\n")
    words = head.split(None, 2)
    if len(words) < 2:
        return "an empty response"
    status = words[1].decode()
    return status if status < "400" else f"{status} {json.loads(body)['code'] if body[:1] == b'{' else ''}".strip()


def quantile(results: list[BuyerResult], part: float) -> float:
    """Return the seconds within which this part of all buyers got their response."""
    times = sorted(result.seconds for result in results)
    return times[min(len(times) - 1, int(len(times) * part))]


class Shop:
    """Run a shop with the layout of production, used only over HTTP."""

    def __init__(self, folder: Path, *, workers: int, threads: int) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.site = f"http://127.0.0.1:{self.port}"
        self.database = PostgresServer(folder)
        self.database.start()
        self.environment = build_environment(folder, self.port) | {
            "DATABASE_URL": self.database.url,
            "LOG_LEVEL": "ERROR",
            "CHECKOUT_QUEUE": "10000",
        }
        prepared = subprocess.run(
            [sys.executable, "-m", "ops.launch.prepare"],
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
        )
        self.staff = json.loads(prepared.stdout.splitlines()[-1])
        self.process = subprocess.Popen(
            serve.build_server_command(host="127.0.0.1", port=self.port, workers=workers),
            env=self.environment | {"WEB_THREADS": str(threads)}, cwd=ROOT,
        )  # fmt: skip
        self._await_ready()

    def _await_ready(self) -> None:
        deadline = time.monotonic() + RESPONSE_TIMEOUT_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                self.call("GET", "/ready")
                return
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
        raise Failed("The shop did not become ready; its messages above say why.")

    def call(self, method: str, path: str, body: Any = None, token: str = "") -> Any:
        """Send a request and return the decoded JSON. Raises HTTPError."""
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        if method == "POST":
            headers["Idempotency-Key"] = uuid.uuid4().hex
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.site + path, content, headers, method=method)
        with urllib.request.urlopen(request, timeout=RESPONSE_TIMEOUT_SECONDS) as response:
            return json.load(response)

    def sku_with_stock(self, units: int) -> str:
        """Adjust the stock of some SKU to exactly this many units, and return the SKU."""
        credentials = {"email": self.staff["email"], "password": self.staff["password"]}
        token = self.call("POST", "/api/v1/auth/token", credentials)["access"]
        page = self.call("GET", "/api/v1/products?in_stock=true&page_size=100")
        variant = next(v for product in page["results"] for v in product["variants"] if v["available"] > units)
        sku = str(variant["sku"])
        adjustment = {"sku": sku, "quantity": units - variant["available"], "reason": "benchmark"}
        self.call("POST", "/api/v1/staff/stock/adjustments", adjustment, token)
        return sku

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()
        self.database.stop()


@contextmanager
def shop(*, workers: int, threads: int) -> Iterator[Shop]:
    with tempfile.TemporaryDirectory(prefix="satsuma-crowd-") as folder:
        try:
            opened = Shop(Path(folder), workers=workers, threads=threads)
        except subprocess.CalledProcessError as error:
            raise Failed(error.stderr.strip()) from None
        try:
            yield opened
        finally:
            opened.stop()


def find_problem(results: list[BuyerResult], units: int) -> str:
    """Describe in a sentence what went wrong; return an empty string if nothing did."""
    outcomes = Counter(result.outcome for result in results)
    unexpected = {outcome: count for outcome, count in outcomes.items() if outcome not in (SOLD, OUT_OF_STOCK)}
    if unexpected:
        return f"Unexpected responses: {unexpected}"
    return "" if outcomes[SOLD] == units else f"{outcomes[SOLD]} of {units} units were sold"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.crowd", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--buyers", type=int, default=1000, help="number of buyers (default: %(default)s)")
    parser.add_argument("--units", type=int, nargs="+", default=[1, 10, 100], help="units in stock, one run for each")
    parser.add_argument("--workers", type=int, default=2, help="web workers (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=4, help="threads of each worker (default: %(default)s)")
    options = parser.parse_args()
    try:
        reserve_descriptors(options.buyers)
        with shop(workers=options.workers, threads=options.threads) as opened:
            return measure(opened, options.buyers, options.units)
    except (Failed, PostgresUnavailable) as error:
        print(error, file=sys.stderr)
        return 1


def measure(opened: Shop, buyers: int, stocks: list[int]) -> int:
    """Print a table and return the exit status: 1 if the number of units sold is wrong, or a response took too long."""
    failures = 0
    buy_concurrently(opened.port, sku=opened.sku_with_stock(20), buyers=100)  # warm up
    print(f"{buyers} buyers at once; {os.cpu_count()} processors")
    for units in stocks:
        results = buy_concurrently(opened.port, sku=opened.sku_with_stock(units), buyers=buyers)
        p50, p99, last = (quantile(results, part) for part in (0.5, 0.99, 1.0))
        problem = find_problem(results, units) or (
            f"p99 is above {MAX_P99_SECONDS:g} s" if p99 > MAX_P99_SECONDS else ""
        )
        failures += bool(problem)
        print(
            f"{units:>5} units: p50 {p50:.2f} s, p99 {p99:.2f} s, last {last:.2f} s, {buyers / last:.0f} responses/s. "
            f"{problem or f'Exactly {units} sold.'}",
            flush=True,
        )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
