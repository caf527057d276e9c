"""Run a mail server that accepts every message and discards it: `python -m bench.mail_sink`.

It prints its port, and on SIGTERM the number of messages that it accepted.
"""

import asyncio
import signal
import sys
from typing import cast


class Session(asyncio.Protocol):
    """An SMTP session (RFC 5321)."""

    accepted = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # always one that can write, for a stream protocol
        self.received, self.in_message = b"", False
        self.transport.write(b"220 sink\r\n")

    def data_received(self, data: bytes) -> None:
        self.received += data
        while True:
            terminator = b"\r\n.\r\n" if self.in_message else b"\r\n"
            part, found, rest = self.received.partition(terminator)
            if not found:
                return
            self.received = rest
            self.transport.write(self._respond(part))

    def _respond(self, part: bytes) -> bytes:
        if self.in_message:
            self.in_message = False
            Session.accepted += 1
            return b"250 accepted\r\n"
        verb = part[:4].upper()
        self.in_message = verb == b"DATA"
        return {b"DATA": b"354 go on\r\n", b"QUIT": b"221 bye\r\n"}.get(verb, b"250 sink\r\n")


async def main() -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    server = await loop.create_server(Session, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await stop.wait()
    print(Session.accepted, flush=True)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
