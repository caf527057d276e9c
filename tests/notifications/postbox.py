"""A mail server on loopback that does as a test says, and keeps a log of what it saw."""

import asyncio
import socket
from collections import Counter
from collections.abc import Callable
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller


class Postbox:
    """What the server is: refusing, breaking off, down, or well; and every message that it got to the end of."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.refusals: dict[str, list[str]] = {}  # recipient to the answers it gets, one after the other
        self.breaks_off = 0  # so many times, with the message in hand
        self.before_yes: Callable[[], None] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.server: Controller | None = None

    def start(self) -> None:
        self.server = Controller(self, hostname="127.0.0.1", port=self.port)
        self.server.start()

    def stop(self) -> None:
        if self.server:
            self.server.stop()
        self.server = None

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list) -> str:
        if self.refusals.get(address):
            return self.refusals[address].pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
        then, self.before_yes = self.before_yes, None
        if then:
            await asyncio.to_thread(then)
        if self.breaks_off:
            self.breaks_off -= 1
            server.transport.abort()
        return "250 OK"

    def to(self, address: str) -> list[EmailMessage]:
        """What arrived for somebody."""
        return [mail for mail in self.mails if mail["To"] == address]

    def ids(self) -> Counter:
        """How often each Message-ID arrived."""
        return Counter(mail["Message-ID"] for mail in self.mails)
