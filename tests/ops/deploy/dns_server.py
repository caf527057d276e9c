"""A name server on loopback that answers every query for an address (RFC 1035) with the address of the moment."""

import socket
import struct
import threading
from contextlib import suppress

ANSWER, TYPE_A, CLASS_IN = 0x8180, 1, 1
HEADER_BYTES = 12


class NameServer:
    """Answer until `close`. `address` may change at any time; answers may be kept for a second."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self._answer)
        self.is_closing = False
        self.thread.start()

    def close(self) -> None:
        self.is_closing = True
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", ("127.0.0.1", self.port))
        self.thread.join()
        self.socket.close()

    def _answer(self) -> None:
        while not self.is_closing:
            query, client = self.socket.recvfrom(512)
            if len(query) < HEADER_BYTES:
                continue
            question = query[HEADER_BYTES : query.index(b"\0", HEADER_BYTES) + 5]
            head = query[:2] + struct.pack("!5H", ANSWER, 1, 1, 0, 0)
            record = struct.pack("!3HIH", 0xC00C, TYPE_A, CLASS_IN, 1, 4) + socket.inet_aton(self.address)
            with suppress(OSError):
                self.socket.sendto(head + question + record, client)
