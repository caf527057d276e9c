"""Send e-mail by SMTP with a timeout for each phase, and with SMTPUTF8 for international addresses (RFC 6531).

A server may need minutes to check a message before it replies, so RFC 5321, 4.5.3.2 requires the longest timeout for the
reply to the content. A client that gives up earlier and sends the message again creates a duplicate. The timeout of a phase
is for its whole reply: a server that sends a line of it from time to time (a tarpit) holds no worker.
"""

import io
import smtplib
import time
from collections.abc import Sequence
from enum import Enum
from socket import socket
from typing import Any, cast

import structlog
from django.conf import settings
from django.core.mail.backends import smtp

from contexts.notifications.channels.international_email import InternationalEmail

START_OF_CONTENT = 354
_ACCEPTED = 250  # the only positive reply that smtplib accepts
POSITIVE, NEGATIVE = range(200, 300), range(400, 600)  # every other reply leaves the outcome open

log = structlog.get_logger(__name__)


class Phase(Enum):
    """The reply that the client waits for."""

    GREETING = "greeting"
    COMMAND = "command"
    DATA_COMMAND = "data command"
    CONTENT = "content"
    QUIT = "quit"


# The names of the settings, in seconds. Django passes the timeout of connecting, EMAIL_TIMEOUT, to the constructor.
_TIMEOUT_SETTINGS = {
    Phase.GREETING: "EMAIL_GREETING_TIMEOUT",
    Phase.COMMAND: "EMAIL_COMMAND_TIMEOUT",
    Phase.DATA_COMMAND: "EMAIL_COMMAND_TIMEOUT",
    Phase.CONTENT: "EMAIL_DATA_TIMEOUT",
    Phase.QUIT: "EMAIL_QUIT_TIMEOUT",
}


class _ReplyStream(io.RawIOBase):
    """The bytes that the server sends, until a deadline. Raises TimeoutError after it."""

    def __init__(self, sock: socket) -> None:
        self.sock, self.deadline = sock, 0.0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if (remaining := self.deadline - time.monotonic()) <= 0:
            raise TimeoutError("timed out")
        self.sock.settimeout(remaining)
        return self.sock.recv_into(buffer)


class SmtpClient(smtplib.SMTP):
    """An SMTP client that records whether the server may have accepted the last message."""

    phase = Phase.GREETING
    may_have_accepted = False
    is_data_open = False  # whether the server may take what follows as content
    file: io.BufferedReader | None  # from which smtplib reads replies
    _stream: _ReplyStream

    def connect(self, *arguments: Any, **options: Any) -> tuple[int, bytes]:
        self.phase = Phase.GREETING
        reply = super().connect(*arguments, **options)
        self.phase = Phase.COMMAND
        return reply

    def data(self, msg: Any) -> tuple[int, bytes]:
        self.phase = Phase.DATA_COMMAND
        try:
            code, reply = super().data(msg)
        finally:
            self.phase = Phase.COMMAND
        return _ACCEPTED if code in POSITIVE else code, reply

    def enter_phase(self, phase: Phase) -> None:
        """Apply the timeout of a phase to sending and to the next reply."""
        self.phase = phase
        self._apply_timeout()

    def abandon(self) -> None:
        """Close the connection without QUIT. The server discards a message whose content has not ended."""
        self.close()
        self.is_data_open = False

    def quit(self) -> tuple[int, bytes]:
        self.phase = Phase.QUIT
        return super().quit()

    def getreply(self) -> tuple[int, bytes]:
        self._apply_timeout()
        code, reply = super().getreply()
        if self.phase is Phase.DATA_COMMAND and code == START_OF_CONTENT:
            self.phase, self.may_have_accepted = Phase.CONTENT, True
        elif self.phase is Phase.CONTENT:
            self.may_have_accepted = code not in NEGATIVE
        self._apply_timeout()  # the deadline has left less than the timeout, which is for sending, too
        return code, reply

    def _apply_timeout(self) -> None:
        if self.sock is None:
            return
        seconds = getattr(settings, _TIMEOUT_SETTINGS[self.phase])
        if self.file is None:
            self._stream = _ReplyStream(self.sock)
            self.file = io.BufferedReader(self._stream)
        self._stream.deadline = time.monotonic() + seconds
        self.sock.settimeout(seconds)


class SmtpBackend(smtp.EmailBackend):
    """Django's SMTP backend with `SmtpClient`."""

    connection: SmtpClient | None
    connection_class = SmtpClient  # Django's property chooses between TLS and none; implicit TLS is not a setting here

    def send_messages(self, email_messages: Sequence[InternationalEmail]) -> int:  # type: ignore[override]
        """Send messages over the open connection. Raises the errors of smtplib."""
        self.open()
        for message in email_messages:
            self._send_message(cast(SmtpClient, self.connection), message)
        return len(email_messages)

    def open(self) -> bool:
        """Open a connection, and ask the server for its extensions. Raises the errors of smtplib."""
        is_new = bool(super().open())
        if is_new and self.connection:
            self.connection.ehlo_or_helo_if_needed()
        return is_new

    def close(self) -> None:
        """End the session. A failure is only logged, because the outcome of every message is known already."""
        client, self.connection = self.connection, None
        if client is None or client.sock is None:
            return
        if client.is_data_open:
            return client.abandon()
        try:
            client.quit()
        except OSError as error:  # includes smtplib's errors
            log.warning("mail_session_not_closed", error=repr(error))
        finally:
            client.close()

    def _send_message(self, client: SmtpClient, message: InternationalEmail) -> None:
        client.may_have_accepted = False
        sender, recipient = message.sender.addr_spec, message.recipient.addr_spec
        client.sendmail(sender, [recipient], message.content, message.smtp_options)

    @property
    def may_have_accepted(self) -> bool:
        """Return whether the server may have accepted the last message."""
        return bool(self.connection and self.connection.may_have_accepted)
