"""Run a mail server that accepts every message and discards it: `python -m bench.mail_sink [latency in ms]`.

It prints its port, and on SIGTERM the number of messages that it accepted. With a latency, each response leaves this long
after its command arrived, as if the server were far away.
"""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from bench.systems import ROOT


class Session(asyncio.Protocol):
    """An SMTP session (RFC 5321) of a client that may send several commands at once (RFC 2920)."""

    accepted = 0
    latency = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # always one that can write, for a stream protocol
        self.received, self.in_message = b"", False
        self._send([b"220 sink\r\n"])

    def data_received(self, data: bytes) -> None:
        self.received += data
        responses = []
        while True:
            terminator = b"\r\n.\r\n" if self.in_message else b"\r\n"
            part, found, rest = self.received.partition(terminator)
            if not found:
                break
            self.received = rest
            responses.append(self._respond(part))
        self._send(responses)

    def _send(self, responses: list[bytes]) -> None:
        if responses:
            asyncio.get_running_loop().call_later(self.latency, self.transport.write, b"".join(responses))

    def _respond(self, part: bytes) -> bytes:
        if self.in_message:
            self.in_message = False
            Session.accepted += 1
            return b"250 accepted\r\n"
        verb = part[:4].upper()
        self.in_message = verb == b"DATA"
        special = {b"EHLO": b"250-sink\r\n250 PIPELINING\r\n", b"DATA": b"354 go on\r\n", b"QUIT": b"221 bye\r\n"}
        return special.get(verb, b"250 sink\r\n")


class Sink:
    """A sink in another process, whose CPU is not counted."""

    def __init__(self, latency_ms: int) -> None:
        command = [sys.executable, "-m", "bench.mail_sink", str(latency_ms)]
        self.child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        self.port = int(self._read_line())

    def stop(self) -> int:
        """Return the number of messages that it accepted."""
        self.child.terminate()
        accepted = self._read_line()
        self.child.wait()
        return int(accepted or 0)

    def _read_line(self) -> str:
        return self.child.stdout.readline() if self.child.stdout else ""


@contextmanager
def sink(latency_ms: int = 0) -> Iterator[int]:
    """Run a sink, and yield its port."""
    running = Sink(latency_ms)
    try:
        yield running.port
    finally:
        running.stop()


async def main(latency_ms: int) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    Session.latency = latency_ms / 1000
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    server = await loop.create_server(Session, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await stop.wait()
    print(Session.accepted, flush=True)


if __name__ == "__main__":
    sys.exit(asyncio.run(main(int(sys.argv[1]) if sys.argv[1:] else 0)))
