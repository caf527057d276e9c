"""The e-mail channel: plain text, sent with Django's mail (SMTP: RFC 5321; header fields: RFC 5322, RFC 6532)."""

import smtplib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import msgspec
from django.conf import settings
from django.core import mail
from django.core.mail.backends.base import BaseEmailBackend
from django.template import Context, Engine

from contexts.notifications.channels.international_email import InternationalEmail
from contexts.notifications.channels.outcomes import (
    Deferred,
    Disconnected,
    OutcomeUnknown,
    Refused,
    Unreachable,
    describe_error,
    to_delivery_error,
    to_unsupported_error,
)
from contexts.notifications.channels.pipeline import Pipeline
from contexts.notifications.channels.smtp import SmtpBackend
from contexts.notifications.interface import MessageTemplate
from shop import chaos
from shop.addresses.email import InvalidAddress, parse_mailbox
from shop.db.transactions import assert_no_open_transaction

# Django's backend has one timeout for all phases, and mangles international addresses.
_REPLACED_BACKENDS = {
    "django.core.mail.backends.smtp.EmailBackend": f"{SmtpBackend.__module__}.{SmtpBackend.__qualname__}"
}

_parse_mailbox = lru_cache(maxsize=10)(parse_mailbox)  # the sender is the same for all e-mails

_template_engine = Engine(dirs=[str(Path(__file__).parent.parent / "templates" / "notifications")])


class OutgoingEmail(msgspec.Struct, frozen=True, kw_only=True):
    """An e-mail that is ready to be sent."""

    message_id: str
    to: str
    subject: str
    text: str


class Connection(Protocol):
    """An open connection to the mail server."""

    def offer(self, mail: InternationalEmail) -> None:
        """Wait until the server is ready for the content of a message. Raises Refused, Deferred, Disconnected."""

    def transfer(self, mail: InternationalEmail, following: InternationalEmail | None) -> None:
        """Send the message that was offered last. The following one, if known, may be announced with it.

        Returns once the server has accepted the message. Raises Refused, Deferred, Disconnected, OutcomeUnknown;
        InTransaction while a transaction is open.
        """

    def withdraw(self) -> None:
        """Do not send the message that was offered. Raises Disconnected if only the end of the connection does that."""


def render(template: MessageTemplate, **values: object) -> tuple[str, str]:
    """Return subject and text of an e-mail.

    The first line of the template is the subject. Values cannot add header lines.
    """
    context = Context(values, autoescape=False)  # plain text, not HTML
    text = _template_engine.get_template(f"{template}.txt").render(context)
    subject, _, body = text.partition("\n")
    return " ".join("".join(c if c.isprintable() else " " for c in subject).split()), body.lstrip("\n")


@contextmanager
def open_connection() -> Iterator[Connection]:
    """Open a connection for any number of messages. Raises Unreachable; InTransaction while a transaction is open."""
    assert_no_open_transaction("mail was sent")
    smtp = mail.get_connection(_REPLACED_BACKENDS.get(settings.EMAIL_BACKEND))
    try:
        smtp.open()
    except OSError as error:  # includes smtplib's errors; a refused sign-in is a wrong setting, which can be corrected
        raise Unreachable(describe_error(error)) from error
    try:
        yield _choose_transfer(smtp)
    finally:
        _close(smtp)


def _choose_transfer(smtp: BaseEmailBackend) -> Connection:
    client = smtp.connection if isinstance(smtp, SmtpBackend) else None
    return Pipeline(client) if client and client.has_extn("pipelining") else _OneByOne(smtp)


def _close(smtp: BaseEmailBackend) -> None:
    try:
        smtp.close()
    except OSError:
        return  # every message has been sent or has raised its own error


class _OneByOne:
    """A connection that sends each message as a whole: to a server without PIPELINING, or by another backend of Django."""

    def __init__(self, smtp: BaseEmailBackend) -> None:
        self.smtp = smtp

    def offer(self, mail: InternationalEmail) -> None:
        pass

    def withdraw(self) -> None:
        pass

    def transfer(self, mail: InternationalEmail, following: InternationalEmail | None) -> None:
        assert_no_open_transaction("mail was sent")
        mail.connection = self.smtp
        try:
            accepted_count = chaos.call_with_points("smtp.send", mail.send)
        except smtplib.SMTPRecipientsRefused as error:
            raise to_delivery_error(*next(iter(error.recipients.values()))) from None
        except smtplib.SMTPDataError as error:
            if _may_have_accepted(self.smtp):  # the reply is neither positive nor negative
                raise OutcomeUnknown(describe_error(error)) from None
            raise to_delivery_error(error.smtp_code, error.smtp_error) from None
        except smtplib.SMTPSenderRefused as error:  # the shop's own address, so the message itself is not at fault
            raise Deferred(describe_error(error)) from None
        except smtplib.SMTPNotSupportedError:
            raise to_unsupported_error(mail) from None
        except OSError as error:
            lost = OutcomeUnknown if _may_have_accepted(self.smtp) else Disconnected
            raise lost(describe_error(error)) from None
        if not accepted_count:
            raise Deferred("the mail backend accepted no message")


def _may_have_accepted(smtp: BaseEmailBackend) -> bool:
    """Return whether the last message may have been accepted. Only our SMTP backend can exclude it."""
    return not isinstance(smtp, SmtpBackend) or smtp.may_have_accepted


def build(outgoing: OutgoingEmail) -> InternationalEmail:
    """Build a message. Raises Refused, and Deferred for the shop's own address, because that setting can be corrected."""
    if not outgoing.to:
        raise Refused("the order has no e-mail address")
    try:
        sender = _parse_mailbox(settings.DEFAULT_FROM_EMAIL)
    except InvalidAddress:
        raise Deferred("DEFAULT_FROM_EMAIL is not a valid address") from None
    try:
        return InternationalEmail(
            sender=sender,
            to=outgoing.to,
            subject=outgoing.subject,
            text=outgoing.text,
            message_id=outgoing.message_id,
        )
    except InvalidAddress:
        raise Refused("the e-mail address is invalid") from None
    except ValueError:  # a line break in a header field
        raise Refused("the message has an invalid header field") from None
