"""python -m bench.crowd: the last units, and a thousand buyers who want one at the same moment.

Each has a connection of its own and sends its order when all are connected. Exactly as many may be sold as there are;
everybody else hears `inventory.out_of_stock`, and nobody anything else. The server is laid out as in production: two
workers of four threads, PostgreSQL with its data on disk.
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

from config.embedded import NoPostgres, Server
from config.up import _environment

ROOT = Path(__file__).parents[1]
ADDRESS = {"name": "Ada Buyer", "line1": "1 Main Street", "city": "Berlin", "postal_code": "10115", "country": "DE"}
SPARE = 100  # descriptors for what is not a buyer
PATIENCE = 60.0  # seconds for one answer
SOLD, OUT = "201", "409 inventory.out_of_stock"
MOST_SECONDS = 5.0  # p99


class Failed(RuntimeError):
    """Something that the person at the keyboard can mend."""


@dataclass(frozen=True)
class Answered:
    """What one buyer heard, and how long that took from the moment when all began."""

    said: str
    seconds: float


def room_for(sockets: int) -> None:
    """As many descriptors as that takes. Raises Failed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = sockets + SPARE
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    except (ValueError, OSError):
        raise Failed(f"{sockets} buyers need {needed} open files, which is more than the limit (ulimit -Hn)") from None


def rush(port: int, *, sku: str, buyers: int) -> list[Answered]:
    """Everybody's order of one unit, at once."""
    room_for(buyers)
    return asyncio.run(_rush(port, sku, buyers))


async def _rush(port: int, sku: str, buyers: int) -> list[Answered]:
    connected = asyncio.Barrier(buyers)
    return await asyncio.gather(*(_buy(port, sku, connected) for _ in range(buyers)))


async def _buy(port: int, sku: str, connected: asyncio.Barrier) -> Answered:
    refused, writer = "", None
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError as error:
        refused = f"no connection ({type(error).__name__})"
    await connected.wait()
    began = time.perf_counter()
    said = refused or await _ask(reader, writer, sku)
    if writer:
        writer.close()
    return Answered(said, time.perf_counter() - began)


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sku: str) -> str:
    try:
        writer.write(_order(sku))
        return _said(await asyncio.wait_for(reader.read(), PATIENCE))
    except (TimeoutError, OSError) as error:
        return f"no answer ({type(error).__name__})"


def _order(sku: str) -> bytes:
    wish = {"items": [{"sku": sku, "quantity": 1}], "email": f"{uuid.uuid4().hex}@example.com", "shipping_address": ADDRESS,
            "payment_method": {"provider": "sandbox", "token": "tok_ok"}}  # fmt: skip
    body = json.dumps(wish).encode()
    head = ("POST /api/v1/orders HTTP/1.1", "Host: 127.0.0.1", "Connection: close", "Content-Type: application/json",
            f"Idempotency-Key: {uuid.uuid4().hex}", f"Content-Length: {len(body)}", "", "")  # fmt: skip
    return "\r\n".join(head).encode() + body


def _said(answer: bytes) -> str:
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(None, 2)
    if len(words) < 2:
        return "nothing"
    status = words[1].decode()
    return status if status < "400" else f"{status} {json.loads(body)['code'] if body[:1] == b'{' else ''}".strip()


def quantile(answers: list[Answered], part: float) -> float:
    """The time that this part of all answers took at most, in seconds."""
    took = sorted(answer.seconds for answer in answers)
    return took[min(len(took) - 1, int(len(took) * part))]


class Shop:
    """A shop with production's layout on a port of its own, used over HTTP alone."""

    def __init__(self, folder: Path, *, workers: int, threads: int) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.site = f"http://127.0.0.1:{self.port}"
        self.database = Server(folder)
        self.database.start()
        self.environment = _environment(folder, self.port) | {"DATABASE_URL": self.database.url, "LOG_LEVEL": "ERROR"}
        prepared = subprocess.run(
            [sys.executable, "-m", "config.prepare"], env=self.environment, capture_output=True, text=True, check=True, cwd=ROOT
        )
        self.staff = json.loads(prepared.stdout.splitlines()[-1])
        self.process = subprocess.Popen(
            [sys.executable, "-m", "granian", "--interface", "wsgi", "--port", str(self.port), "--no-ws", "--workers",
             str(workers), "--blocking-threads", str(threads), "--log-level", "error", "config.wsgi:application"],
            env=self.environment, cwd=ROOT,
        )  # fmt: skip
        self._await_ready()

    def _await_ready(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                return self.call("GET", "/ready") and None
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
        raise Failed("The shop did not get ready; what it said stands above.")

    def call(self, method: str, path: str, body: Any = None, token: str = "") -> Any:
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.site + path, content, headers, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return json.load(response)

    def something_with(self, units: int) -> str:
        """A SKU of which there are exactly so many."""
        proof = {"email": self.staff["email"], "password": self.staff["password"]}
        token = self.call("POST", "/api/v1/auth/token", proof)["access"]
        page = self.call("GET", "/api/v1/products?in_stock=true&page_size=100")
        variant = next(v for product in page["results"] for v in product["variants"] if v["available"] > units)
        correction = {"sku": variant["sku"], "quantity": units - variant["available"], "reason": "the last ones"}
        self.call("POST", "/api/v1/staff/stock/adjustments", correction, token)
        return variant["sku"]

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


def wrong(answers: list[Answered], units: int) -> str:
    """What must not be, in a sentence; empty if all is well."""
    heard = Counter(answer.said for answer in answers)
    others = {said: often for said, often in heard.items() if said not in (SOLD, OUT)}
    if others:
        return f"Somebody heard something else: {others}"
    return "" if heard[SOLD] == units else f"{heard[SOLD]} were sold of {units}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.crowd", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--buyers", type=int, default=1000)
    parser.add_argument("--units", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--workers", type=int, default=2, help="web workers (2)")
    parser.add_argument("--threads", type=int, default=4, help="threads of each (4)")
    options = parser.parse_args()
    try:
        room_for(options.buyers)
        with shop(workers=options.workers, threads=options.threads) as opened:
            return measure(opened, options.buyers, options.units)
    except (Failed, NoPostgres) as error:
        print(error, file=sys.stderr)
        return 1


def measure(opened: Shop, buyers: int, stocks: list[int]) -> int:
    """The table, and the exit status: 1 where a unit was sold too many or too few, or somebody waited too long."""
    failures = 0
    rush(opened.port, sku=opened.something_with(20), buyers=100)  # so that nobody measures a cold start
    print(f"{buyers} buyers at once; {os.cpu_count()} processors")
    for units in stocks:
        answers = rush(opened.port, sku=opened.something_with(units), buyers=buyers)
        p50, p99, last = (quantile(answers, part) for part in (0.5, 0.99, 1.0))
        problem = wrong(answers, units) or ("p99 is above 5 s" if p99 > MOST_SECONDS else "")
        failures += bool(problem)
        print(f"{units:>5} units: p50 {p50:.2f} s, p99 {p99:.2f} s, last {last:.2f} s, "
              f"{buyers / last:.0f} answers/s. {problem or f'Exactly {units} sold.'}", flush=True)  # fmt: skip
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
