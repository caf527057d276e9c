"""A mail server on loopback that a test can make fail, with a record of the messages that it received."""

import asyncio
from collections import Counter
from collections.abc import Callable
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any, NamedTuple

from aiosmtpd.controller import Controller

from tests.ports import reserve_port


class Transfer(NamedTuple):
    """A message as it was transferred: envelope, whether as UTF-8 (RFC 6531), and content."""

    sender: str
    recipients: list[str]
    is_utf8: bool
    content: bytes


class FakeMailServer:
    """A mail server that can refuse a recipient, lose a connection, or be stopped.

    offers_smtputf8: whether it accepts international addresses; applies to the next `start`.
    offers_pipelining: whether it accepts groups of commands (RFC 2920).
    """

    def __init__(self) -> None:
        self.offers_smtputf8 = self.offers_pipelining = True
        self.mails: list[EmailMessage] = []  # received in full, accepted or not
        self.transfers: list[Transfer] = []
        self.replies: list[str] = []  # to the content of the next messages, instead of accepting them
        self.refusals: dict[str, list[str]] = {}  # by recipient: the replies to its next messages
        self.connections_to_abort = 0  # how many of the next messages lose their connection once they are received
        self.before_accept: Callable[[], None] | None = None  # called once, between receiving and accepting a message
        self.parallel_messages = 0  # the number that has to be in transfer at once before any is accepted
        self.in_transfer = self.most_in_transfer = 0
        self.port = reserve_port()
        self.server: Controller | None = None

    def start(self, **options: Any) -> None:
        """Start the server. options: those of aiosmtpd's SMTP, such as tls_context."""
        own = {"hostname": "127.0.0.1", "port": self.port, "enable_SMTPUTF8": self.offers_smtputf8}
        self.server = Controller(self, **own, **options)
        self.server.start()

    def stop(self) -> None:
        if self.server:
            self.server.stop()
        self.server = None

    async def handle_EHLO(
        self, server: Any, session: Any, envelope: Any, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        return [responses[0], "250-PIPELINING", *responses[1:]] if self.offers_pipelining else responses

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if self.refusals.get(address):
            return self.refusals[address].pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
        self.transfers.append(
            Transfer(envelope.mail_from, envelope.rcpt_tos, envelope.smtp_utf8, bytes(envelope.original_content))
        )
        self.in_transfer += 1
        self.most_in_transfer = max(self.most_in_transfer, self.in_transfer)
        try:
            return await self._answer(server)
        finally:
            self.in_transfer -= 1

    async def _answer(self, server: Any) -> str:
        if self.parallel_messages:
            try:
                async with asyncio.timeout(10):
                    while self.most_in_transfer < self.parallel_messages:
                        await asyncio.sleep(0.01)
            except TimeoutError:
                self.parallel_messages = 0  # `most_in_transfer` shows that there were fewer
        callback, self.before_accept = self.before_accept, None
        if callback:
            await asyncio.to_thread(callback)
        if self.connections_to_abort:
            self.connections_to_abort -= 1
            server.transport.abort()
        return self.replies.pop(0) if self.replies else "250 OK"

    def mails_to(self, address: str) -> list[EmailMessage]:
        """Return the messages that were received for an address."""
        return [mail for mail in self.mails if mail["To"] == address]

    def message_id_counts(self) -> Counter[str]:
        """Count how often each Message-ID was received."""
        return Counter(mail["Message-ID"] for mail in self.mails)
