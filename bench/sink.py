"""A mail server that takes everything and keeps nothing, in a process of its own: `python -m bench.sink`.

It prints its port, and at the end, on SIGTERM, how many messages it took.
"""

import asyncio
import signal
import sys
from typing import Any


class Session(asyncio.Protocol):
    """One conversation (RFC 5321)."""

    taken = 0

    def connection_made(self, transport: Any) -> None:
        self.transport, self.received, self.in_message = transport, b"", False
        transport.write(b"220 sink\r\n")

    def data_received(self, data: bytes) -> None:
        self.received += data
        while True:
            mark = b"\r\n.\r\n" if self.in_message else b"\r\n"
            part, found, rest = self.received.partition(mark)
            if not found:
                return
            self.received = rest
            self.transport.write(self._answer(part))

    def _answer(self, part: bytes) -> bytes:
        if self.in_message:
            self.in_message = False
            Session.taken += 1
            return b"250 taken\r\n"
        verb = part[:4].upper()
        self.in_message = verb == b"DATA"
        return {b"DATA": b"354 go on\r\n", b"QUIT": b"221 bye\r\n"}.get(verb, b"250 sink\r\n")


async def main() -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    server = await loop.create_server(Session, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await stop.wait()
    print(Session.taken, flush=True)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
