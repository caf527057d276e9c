"""Send e-mail by SMTP with a timeout for each phase, and with SMTPUTF8 for international addresses (RFC 6531).

A server may need minutes to check a message before it replies, so RFC 5321, 4.5.3.2 requires the longest timeout for the
reply to the content. A client that gives up earlier and sends the message again creates a duplicate.
"""

import smtplib
from collections.abc import Sequence
from enum import Enum
from typing import Any, cast

from django.conf import settings
from django.core.mail.backends import smtp

from contexts.notifications.channels.international_email import InternationalEmail

_START_OF_CONTENT = 354
_ACCEPTED = 250


class Phase(Enum):
    """The reply that the client waits for."""

    GREETING = "greeting"
    COMMAND = "command"
    DATA_COMMAND = "data command"
    CONTENT = "content"


# The names of the settings, in seconds. Django passes the timeout of connecting, EMAIL_TIMEOUT, to the constructor.
_TIMEOUT_SETTINGS = {
    Phase.GREETING: "EMAIL_GREETING_TIMEOUT",
    Phase.COMMAND: "EMAIL_COMMAND_TIMEOUT",
    Phase.DATA_COMMAND: "EMAIL_COMMAND_TIMEOUT",
    Phase.CONTENT: "EMAIL_DATA_TIMEOUT",
}


class SmtpClient(smtplib.SMTP):
    """An SMTP client that records whether the server may have accepted the last message."""

    phase = Phase.GREETING
    may_have_accepted = False

    def connect(self, *arguments: Any, **options: Any) -> tuple[int, bytes]:
        self.phase = Phase.GREETING
        reply = super().connect(*arguments, **options)
        self.phase = Phase.COMMAND
        return reply

    def data(self, msg: Any) -> tuple[int, bytes]:
        self.phase = Phase.DATA_COMMAND
        try:
            return super().data(msg)
        finally:
            self.phase = Phase.COMMAND

    def getreply(self) -> tuple[int, bytes]:
        self._apply_timeout()
        code, reply = super().getreply()
        if self.phase is Phase.DATA_COMMAND and code == _START_OF_CONTENT:
            self.phase, self.may_have_accepted = Phase.CONTENT, True
            self._apply_timeout()
        elif self.phase is Phase.CONTENT:
            self.may_have_accepted = code == _ACCEPTED
        return code, reply

    def _apply_timeout(self) -> None:
        if self.sock:
            self.sock.settimeout(getattr(settings, _TIMEOUT_SETTINGS[self.phase]))


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

    def _send_message(self, client: SmtpClient, message: InternationalEmail) -> None:
        client.may_have_accepted = False
        options = ["SMTPUTF8", "BODY=8BITMIME"] if message.is_utf8 else []
        client.sendmail(message.sender.addr_spec, [message.recipient.addr_spec], message.to_bytes(), options)

    @property
    def may_have_accepted(self) -> bool:
        """Return whether the server may have accepted the last message."""
        return bool(self.connection and self.connection.may_have_accepted)
