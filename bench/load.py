"""The loader, in a process of its own: clients on raw sockets, each with one request on its way at a time.

    python -m bench.load <<< '{"port": 8000, "operation": "orders", "clients": 8, "seconds": 5, "products": 1000, "seed": 1}'

A client changes its connection now and then, as customers come and go: kept for ever, all connections may lie with one
worker of the server. Any answer that is not the right one ends the run.
"""

import asyncio
import json
import random
import sys
import time
from typing import Any

from bench.operations import OPERATIONS, Request, Script

REQUESTS_PER_CONNECTION = 25
PATIENCE = 60.0  # seconds for the last answers


class WrongAnswer(RuntimeError):
    """What came back is not what the operation has to lead to."""


class Connection(asyncio.Protocol):
    """HTTP/1.1, as much of it as answers with a Content-Length need."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.received = b""
        self.answer: asyncio.Future | None = None

    def send(self, data: bytes) -> "asyncio.Future[tuple[int, bytes]]":
        self.answer = asyncio.get_running_loop().create_future()
        self.transport.write(data)
        return self.answer

    def data_received(self, data: bytes) -> None:
        self.received += data
        head_end = self.received.find(b"\r\n\r\n")
        if head_end < 0 or self.answer is None:
            return
        head = self.received[:head_end].lower()
        start = head.find(b"content-length: ")
        if start < 0:
            return self.answer.set_exception(WrongAnswer(f"no Content-Length: {head!r}"))
        end = head_end + 4 + int(head[start + 16 :].split(b"\r\n", 1)[0])
        if len(self.received) >= end:
            self.answer.set_result((int(head[9:12]), self.received[head_end + 4 : end]))
            self.received = b""

    def connection_lost(self, error: Exception | None) -> None:
        if self.answer and not self.answer.done():
            self.answer.set_exception(WrongAnswer(f"the connection was lost: {error}"))


class Run:
    """One load: so many clients for so long, or until `limit` requests; the latency of each counted one in seconds."""

    def __init__(
        self, *, port: int, operation: str, clients: int, seconds: float, products: int, seed: int, limit: int = 10**9
    ) -> None:
        self.port, self.seconds, self.limit = port, seconds, limit
        self.scripts = [OPERATIONS[operation](products, random.Random(seed * 1000 + n)) for n in range(clients)]
        self.latencies: list[float] = []
        self.sent = 0

    async def run(self) -> dict[str, float]:
        self.began, self.cpu = time.monotonic(), time.process_time()
        async with asyncio.timeout(self.seconds + PATIENCE), asyncio.TaskGroup() as clients:
            for script in self.scripts:
                clients.create_task(self._client(script))
        return self._figures(time.monotonic())

    async def _client(self, script: Script) -> None:
        request, sent, connection = next(script), 0, None
        while time.monotonic() < self.began + self.seconds and self.sent < self.limit:
            self.sent += request.counted
            if sent % REQUESTS_PER_CONNECTION == 0:
                connection = await self._connect(connection)
            body = await self._ask(connection, request)
            request, sent = script.send(body), sent + 1
        if connection:
            connection.transport.close()

    async def _connect(self, old: Connection | None) -> Connection:
        if old:
            old.transport.close()
        _, connection = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", self.port)
        return connection

    async def _ask(self, connection: Any, request: Request) -> bytes:
        asked = time.perf_counter()
        status, body = await connection.send(request.data)
        if request.counted:
            self.latencies.append(time.perf_counter() - asked)
        check(request, status, body)
        return body

    def _figures(self, ended: float) -> dict[str, float]:
        ordered = sorted(self.latencies)
        if not ordered:
            raise WrongAnswer("no answer in time")
        quantiles = {f"p{q}": 1000 * ordered[min(len(ordered) - 1, len(ordered) * q // 100)] for q in (50, 95, 99)}
        cpu = time.process_time() - self.cpu
        return {"count": len(ordered), "began": self.began, "ended": ended, "cpu": cpu, **quantiles}


def check(request: Request, status: int, body: bytes) -> None:
    """Raise WrongAnswer unless this is the status, and the text, that the request has to lead to."""
    if status != request.status or request.contains not in body:
        asked = request.data.split(b"\r\n", 1)[0].decode()
        raise WrongAnswer(f"{asked} was answered {status}, not {request.status}: {body[:300].decode(errors='replace')}")


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
