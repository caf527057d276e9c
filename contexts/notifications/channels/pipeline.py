"""Send messages in groups of SMTP commands, if the mail server offers PIPELINING (RFC 2920).

The content of a message is sent together with the envelope of the next one (MAIL, RCPT, DATA), and the replies are read
afterwards, in the order of the commands. So a message costs one round trip instead of four. DATA ends a group, since what
follows its positive reply is content.
"""

import re
from collections.abc import Container, Iterator
from contextlib import contextmanager

from contexts.notifications.channels.international_email import InternationalEmail
from contexts.notifications.channels.outcomes import (
    CLOSING_REPLY_CODE,
    Deferred,
    Disconnected,
    OutcomeUnknown,
    describe_error,
    describe_reply,
    to_delivery_error,
    to_unsupported_error,
)
from contexts.notifications.channels.smtp import NEGATIVE, POSITIVE, START_OF_CONTENT, Phase, SmtpClient
from shop import chaos
from shop.db.transactions import assert_no_open_transaction

_END_OF_CONTENT = b".\r\n"


class Pipeline:
    """A connection over which messages are offered, and transferred once the server is ready for their content."""

    def __init__(self, client: SmtpClient) -> None:
        self.client = client
        self.announced: InternationalEmail | None = None  # its envelope was sent, its replies are not read yet
        self.resets = False  # whether the next envelope begins with RSET, because the server may keep the last one
        self.will_read_reset = False

    def offer(self, mail: InternationalEmail) -> None:
        """Send the envelope of a message, unless `transfer` did, and wait until the server is ready for its content.

        Raises Refused, Deferred, Disconnected; InTransaction while a transaction is open.
        """
        assert_no_open_transaction("mail was sent")
        if not self._supports(mail):
            raise to_unsupported_error(mail)
        self.client.may_have_accepted = False
        with self._reading(Phase.COMMAND):
            if self.announced is not mail:
                self.client.send(self._build_envelope(mail))
            self.announced = None
            error = self._read_envelope_replies()
        if error:
            raise error

    def transfer(self, mail: InternationalEmail, following: InternationalEmail | None) -> None:
        """Send the content of the message that was offered last, and the envelope of the following one.

        Returns once the server has accepted the message. Raises Refused, Deferred, Disconnected, OutcomeUnknown;
        InTransaction while a transaction is open.
        """
        assert_no_open_transaction("mail was sent")
        self.client.may_have_accepted = False
        with self._reading(Phase.CONTENT):
            code, reply = chaos.call_with_points("smtp.send", self._send_content, mail, following)
            if code not in POSITIVE and code not in NEGATIVE:
                raise OutcomeUnknown(describe_reply(code, reply))
            if code == CLOSING_REPLY_CODE:
                raise Disconnected(describe_reply(code, reply))
        if code in NEGATIVE:
            raise to_delivery_error(code, reply)

    def withdraw(self) -> None:
        """Do not send the content of the message that was offered. Raises Disconnected: only that ends DATA (RFC 5321)."""
        self.client.abandon()
        raise Disconnected("a message was withdrawn")

    @contextmanager
    def _reading(self, phase: Phase) -> Iterator[None]:
        """Abandon the connection if the block fails: its next reply might be taken for that to another command."""
        try:
            self.client.enter_phase(phase)
            yield
        except OSError as error:  # includes smtplib's errors
            lost = OutcomeUnknown if self.client.may_have_accepted else Disconnected
            self.client.abandon()
            raise lost(describe_error(error)) from None
        except BaseException:
            self.client.abandon()
            raise
        finally:
            self.client.phase = Phase.COMMAND

    def _send_content(self, mail: InternationalEmail, following: InternationalEmail | None) -> tuple[int, bytes]:
        group = _quote_content(mail.content) + _END_OF_CONTENT
        self.client.is_data_open = False
        self.announced = following if following and self._supports(following) else None
        if self.announced:
            group += self._build_envelope(self.announced)
        self.client.may_have_accepted = True
        self.client.send(group)
        return self.client.getreply()

    def _supports(self, mail: InternationalEmail) -> bool:
        return not mail.is_utf8 or self.client.has_extn("smtputf8")

    def _build_envelope(self, mail: InternationalEmail) -> bytes:
        options = [f"SIZE={len(mail.content)}"] if self.client.has_extn("size") else []
        options += mail.smtp_options
        self.will_read_reset, self.resets = self.resets, False
        self.client.is_data_open = True  # as far as we know, until its reply is read
        lines = [
            *(["RSET"] if self.will_read_reset else []),
            " ".join([f"MAIL FROM:<{mail.sender.addr_spec}>", *options]),
            f"RCPT TO:<{mail.recipient.addr_spec}>",
            "DATA\r\n",
        ]
        return "\r\n".join(lines).encode()

    def _read_envelope_replies(self) -> Exception | None:
        """Read the replies to an envelope. Returns an error unless the server is ready for the content."""
        if self.will_read_reset:
            self._read_reply()
        sender, recipient = self._read_reply(), self._read_reply()
        data = self._read_reply((START_OF_CONTENT,))
        is_accepted = sender[0] in POSITIVE and recipient[0] in POSITIVE
        if data[0] == START_OF_CONTENT:
            if is_accepted:
                return None
            self._end_empty_content()
        else:
            self.client.is_data_open, self.resets = False, sender[0] in POSITIVE
        if sender[0] in NEGATIVE:  # the shop's own address, so the message itself is not at fault
            return Deferred(describe_reply(*sender))
        return to_delivery_error(*(recipient if recipient[0] in NEGATIVE else data))

    def _end_empty_content(self) -> None:
        """End DATA without content, which sends no message because no recipient was accepted (RFC 2920, 3.1)."""
        self.client.is_data_open = False
        try:
            self.client.send(_END_OF_CONTENT)
            self._read_reply()
        except (OSError, Disconnected):
            self.client.abandon()  # the refusal of the recipient holds nevertheless

    def _read_reply(self, positive: Container[int] = POSITIVE) -> tuple[int, bytes]:
        """Read a reply that accepts or refuses a command. Raises Disconnected for any other one."""
        code, reply = self.client.getreply()
        if code == CLOSING_REPLY_CODE or (code not in positive and code not in NEGATIVE):
            raise Disconnected(describe_reply(code, reply))
        return code, reply


def _quote_content(content: bytes) -> bytes:
    """Double the dot at the beginning of lines (RFC 5321, 4.5.2), and end the last line."""
    quoted = re.sub(rb"(?m)^\.", b"..", content)
    return quoted if quoted.endswith(b"\r\n") else quoted + b"\r\n"
