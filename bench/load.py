"""Load a shop from a separate process: clients on raw sockets, each with one open request at a time.

    python -m bench.load <<< '{"port": 8000, "operation": "orders", "clients": 8, "seconds": 5, "products": 1000, "seed": 1}'

A client opens a new connection now and then, as new customers do: if all connections were kept, one worker of the server
might have them all. A client that is refused because the shop is overloaded waits for Retry-After seconds, and repeats the
request; its latency is that of the request which was admitted. Any other wrong response ends the run.
"""

import asyncio
import json
import random
import sys
import time
from typing import cast

from bench.operations import OPERATIONS, Request, Script

REQUESTS_PER_CONNECTION = 25
RESPONSE_TIMEOUT_SECONDS = 60.0  # for the last responses
OVERLOADED = b'"shop.overloaded"'


class WrongAnswer(RuntimeError):
    """The response is not the one that the operation requires."""


class Connection(asyncio.Protocol):
    """An HTTP/1.1 connection that supports responses with a Content-Length."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # always one that can write, for a stream protocol
        self.received = b""
        self.response: asyncio.Future[tuple[int, bytes]] | None = None

    def send(self, data: bytes) -> "asyncio.Future[tuple[int, bytes]]":
        self.response = asyncio.get_running_loop().create_future()
        self.transport.write(data)
        return self.response

    def data_received(self, data: bytes) -> None:
        self.received += data
        head_end = self.received.find(b"\r\n\r\n")
        if head_end < 0 or self.response is None:
            return
        head = self.received[:head_end].lower()
        start = head.find(b"content-length: ")
        if start < 0:
            return self.response.set_exception(WrongAnswer(f"no Content-Length: {head!r}"))
        end = head_end + 4 + int(head[start + 16 :].split(b"\r\n", 1)[0])
        if len(self.received) >= end:
            self.response.set_result((int(head[9:12]), self.received[head_end + 4 : end]))
            self.received = b""

    def connection_lost(self, error: Exception | None) -> None:
        if self.response and not self.response.done():
            self.response.set_exception(WrongAnswer(f"the connection was lost: {error}"))


class Run:
    """Run a number of clients for some seconds, or until `limit` requests; measure the latency of the counted requests."""

    def __init__(
        self, *, port: int, operation: str, clients: int, seconds: float, products: int, seed: int, limit: int = 10**9
    ) -> None:
        self.port, self.seconds, self.limit = port, seconds, limit
        self.scripts = [OPERATIONS[operation](products, random.Random(seed * 1000 + n)) for n in range(clients)]
        self.latencies: list[float] = []
        self.sent = self.refused = 0

    async def run(self) -> dict[str, float]:
        self.started_at, self.cpu = time.monotonic(), time.process_time()
        async with asyncio.timeout(self.seconds + RESPONSE_TIMEOUT_SECONDS), asyncio.TaskGroup() as clients:
            for script in self.scripts:
                clients.create_task(self._client(script))
        return self._figures(time.monotonic())

    async def _client(self, script: Script) -> None:
        request, sent, connection = next(script), 0, None
        while time.monotonic() < self.started_at + self.seconds and self.sent < self.limit:
            self.sent += request.counted
            if connection is None or sent % REQUESTS_PER_CONNECTION == 0:
                connection = await self._connect(connection)
            body = await self._send(connection, request)
            request, sent = script.send(body), sent + 1
        if connection:
            connection.transport.close()

    async def _connect(self, old: Connection | None) -> Connection:
        if old:
            old.transport.close()
        _, connection = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", self.port)
        return connection

    async def _send(self, connection: Connection, request: Request) -> bytes:
        while True:
            sent_at = time.perf_counter()
            status, body = await connection.send(request.data)
            if status != 503 or OVERLOADED not in body:
                break
            self.refused += 1
            await asyncio.sleep(json.loads(body)["facts"]["retry_after"])
        if request.counted:
            self.latencies.append(time.perf_counter() - sent_at)
        check(request, status, body)
        return body

    def _figures(self, ended: float) -> dict[str, float]:
        ordered = sorted(self.latencies)
        if not ordered:
            raise WrongAnswer("no response in time")
        quantiles = {f"p{q}": 1000 * ordered[min(len(ordered) - 1, len(ordered) * q // 100)] for q in (50, 95, 99)}
        cpu = time.process_time() - self.cpu
        counts = {"count": len(ordered), "refused": self.refused}
        return {**counts, "began": self.started_at, "ended": ended, "cpu": cpu, **quantiles}


def check(request: Request, status: int, body: bytes) -> None:
    """Raise WrongAnswer unless status and body are those that the request requires."""
    if status != request.status or request.contains not in body:
        line = request.data.split(b"\r\n", 1)[0].decode()
        expected = f"{request.status} with {request.contains.decode()}"
        raise WrongAnswer(f"{line} returned {status}, not {expected}: {body[:300].decode(errors='replace')}")


def main() -> int:
    try:
        print(json.dumps(asyncio.run(Run(**json.load(sys.stdin)).run())))
    except (ExceptionGroup, TimeoutError) as errors:
        first = errors.exceptions[0] if isinstance(errors, ExceptionGroup) else errors
        print(f"{type(first).__name__}: {first}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
