"""The e-mail channel: plain text, sent with Django's mail (SMTP: RFC 5321; header fields: RFC 5322)."""

import re
import smtplib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from django.core import mail
from django.core.mail.backends.base import BaseEmailBackend
from django.template import Context, Engine

from contexts.notifications.interface import MessageTemplate
from shop import chaos
from shop.db.transactions import assert_no_open_transaction

_CLOSING_REPLY_CODE = 421
_MIN_PERMANENT_REPLY_CODE = 500
_MAX_REPLY_LENGTH = 300  # characters that are stored of a server's reply

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
    """The connection was lost: the server may or may not have accepted the message."""


class Unreachable(Exception):
    """The mail server cannot be reached."""


def render(template: MessageTemplate, **values: object) -> tuple[str, str]:
    """Return subject and text of an e-mail.

    The first line of the template is the subject. Values cannot add header lines.
    """
    context = Context(values, autoescape=False)  # plain text, not HTML
    text = _template_engine.get_template(f"{template}.txt").render(context)
    subject, _, body = text.partition("\n")
    return " ".join(subject.split()), body.lstrip("\n")


@contextmanager
def open_connection() -> Iterator[BaseEmailBackend]:
    """Open a connection for any number of messages. Raises Unreachable; InTransaction while a transaction is open."""
    assert_no_open_transaction("mail was sent")
    smtp = mail.get_connection()
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


def deliver(smtp: BaseEmailBackend, message: OutgoingEmail) -> None:
    """Send one message. Raises Refused, Deferred, Disconnected; InTransaction while a transaction is open."""
    assert_no_open_transaction("mail was sent")
    if not message.to:
        raise Refused("the order has no e-mail address")
    email_message = mail.EmailMessage(
        message.subject, message.text, to=[message.to], headers={"Message-ID": message.message_id}, connection=smtp
    )
    try:
        accepted_count = chaos.call_with_points("smtp.send", email_message.send)
    except smtplib.SMTPRecipientsRefused as error:
        raise _to_delivery_error(*next(iter(error.recipients.values()))) from None
    except smtplib.SMTPDataError as error:
        raise _to_delivery_error(error.smtp_code, error.smtp_error) from None
    except smtplib.SMTPSenderRefused as error:  # the shop's own address, so the message itself is not at fault
        raise Deferred(_describe_error(error)) from None
    except OSError as error:
        raise Disconnected(_describe_error(error)) from None
    except ValueError:
        raise Refused("the e-mail address is invalid") from None
    if not accepted_count:
        raise Deferred("the mail backend accepted no message")


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
