"""The e-mail channel: plain text, sent with Django's mail (SMTP: RFC 5321; header fields: RFC 5322, RFC 6532)."""

import re
import smtplib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from django.conf import settings
from django.core import mail
from django.core.mail.backends.base import BaseEmailBackend
from django.template import Context, Engine

from contexts.notifications.channels.international_email import InternationalEmail
from contexts.notifications.channels.smtp import SmtpBackend
from contexts.notifications.interface import MessageTemplate
from shop import chaos
from shop.addresses.email import InvalidAddress, is_international, parse_mailbox
from shop.db.transactions import assert_no_open_transaction

_CLOSING_REPLY_CODE = 421
_MIN_PERMANENT_REPLY_CODE = 500
_MAX_REPLY_LENGTH = 300  # characters that are stored of a server's reply

# Django's backend has one timeout for all phases, and mangles international addresses.
_REPLACED_BACKENDS = {
    "django.core.mail.backends.smtp.EmailBackend": f"{SmtpBackend.__module__}.{SmtpBackend.__qualname__}"
}

_template_engine = Engine(dirs=[str(Path(__file__).parent.parent / "templates" / "notifications")])


class OutgoingEmail(msgspec.Struct, frozen=True, kw_only=True):
    """An e-mail that is ready to be sent."""

    message_id: str
    to: str
    subject: str
    text: str


class Refused(Exception):
    """The message can never be delivered: the server refused it, or its address is invalid."""


class Deferred(Exception):
    """The server does not accept the message now."""


class Disconnected(Exception):
    """The connection was lost before the server could accept the message."""


class OutcomeUnknown(Disconnected):
    """The connection was lost while the server processed the message: it may or may not have accepted it."""


class Unreachable(Exception):
    """The mail server cannot be reached."""


def render(template: MessageTemplate, **values: object) -> tuple[str, str]:
    """Return subject and text of an e-mail.

    The first line of the template is the subject. Values cannot add header lines.
    """
    context = Context(values, autoescape=False)  # plain text, not HTML
    text = _template_engine.get_template(f"{template}.txt").render(context)
    subject, _, body = text.partition("\n")
    return " ".join("".join(c if c.isprintable() else " " for c in subject).split()), body.lstrip("\n")


@contextmanager
def open_connection() -> Iterator[BaseEmailBackend]:
    """Open a connection for any number of messages. Raises Unreachable; InTransaction while a transaction is open."""
    assert_no_open_transaction("mail was sent")
    smtp = mail.get_connection(_REPLACED_BACKENDS.get(settings.EMAIL_BACKEND))
    try:
        smtp.open()
    except OSError as error:  # includes smtplib's errors; a refused sign-in is a wrong setting, which can be corrected
        raise Unreachable(_describe_error(error)) from error
    try:
        yield smtp
    finally:
        _close(smtp)


def _close(smtp: BaseEmailBackend) -> None:
    try:
        smtp.close()
    except OSError:
        return  # every message has been sent or has raised its own error


def deliver(smtp: BaseEmailBackend, outgoing: OutgoingEmail) -> None:
    """Send one message.

    Raises Refused, Deferred, Disconnected, OutcomeUnknown; InTransaction while a transaction is open.
    """
    assert_no_open_transaction("mail was sent")
    if not outgoing.to:
        raise Refused("the order has no e-mail address")
    email_message = _build_message(outgoing)
    email_message.connection = smtp
    try:
        accepted_count = chaos.call_with_points("smtp.send", email_message.send)
    except smtplib.SMTPRecipientsRefused as error:
        raise _to_delivery_error(*next(iter(error.recipients.values()))) from None
    except smtplib.SMTPDataError as error:
        if _may_have_accepted(smtp):  # the reply is neither positive nor negative
            raise OutcomeUnknown(_describe_error(error)) from None
        raise _to_delivery_error(error.smtp_code, error.smtp_error) from None
    except smtplib.SMTPSenderRefused as error:  # the shop's own address, so the message itself is not at fault
        raise Deferred(_describe_error(error)) from None
    except smtplib.SMTPNotSupportedError:
        raise _to_unsupported_error(email_message) from None
    except OSError as error:
        lost = OutcomeUnknown if _may_have_accepted(smtp) else Disconnected
        raise lost(_describe_error(error)) from None
    except ValueError:  # a line break in a header field
        raise Refused("the message has an invalid header field") from None
    if not accepted_count:
        raise Deferred("the mail backend accepted no message")


def _may_have_accepted(smtp: BaseEmailBackend) -> bool:
    """Return whether the last message may have been accepted. Only our SMTP backend can exclude it."""
    return not isinstance(smtp, SmtpBackend) or smtp.may_have_accepted


def _build_message(outgoing: OutgoingEmail) -> InternationalEmail:
    """Build the message. Raises Refused, and Deferred for the shop's own address, because that setting can be corrected."""
    try:
        sender = parse_mailbox(settings.DEFAULT_FROM_EMAIL)
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


def _to_unsupported_error(message: InternationalEmail) -> Exception:
    if is_international(message.sender):
        return Deferred("DEFAULT_FROM_EMAIL is an international address, which the mail server does not support")
    return Refused("the address is international, and the mail server does not support that (SMTPUTF8, RFC 6531)")


def _to_delivery_error(code: int, reply: bytes | str) -> Exception:
    text = reply.decode(errors="replace") if isinstance(reply, bytes) else reply
    text = _redact_addresses(f"{code} {text}")
    if code == _CLOSING_REPLY_CODE:
        return Disconnected(text)
    return Refused(text) if code >= _MIN_PERMANENT_REPLY_CODE else Deferred(text)


def _describe_error(error: OSError) -> str:
    return _redact_addresses(f"{type(error).__name__}: {error}")


def _redact_addresses(text: str) -> str:
    """Remove e-mail addresses, which servers often quote, so that none is stored in tables, events or logs."""
    return re.sub(r"\S+@\S+", "(address)", re.sub(r"[\s\0]+", " ", text))[:_MAX_REPLY_LENGTH]
