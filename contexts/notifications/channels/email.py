"""E-mail: plain text, through Django's mail (SMTP: RFC 5321; header fields: RFC 5322)."""

import re
import smtplib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from django.core import mail
from django.core.mail.backends.base import BaseEmailBackend
from django.template import Context, Engine

from shop import chaos
from shop.transactions import refuse

_CLOSING = 421
_PERMANENT = 500

_texts = Engine(dirs=[Path(__file__).parent.parent / "templates" / "notifications"])


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """One e-mail, ready to go."""

    message_id: str
    to: str
    subject: str
    text: str


class Refused(Exception):
    """The server, or the address itself, says that this letter will never arrive."""


class Deferred(Exception):
    """The server does not take this letter now."""


class Disconnected(Exception):
    """The conversation broke off: the letter may or may not have been taken."""


class Unreachable(Exception):
    """There is no server to talk to."""


def render(template: str, **facts: Any) -> tuple[str, str]:
    """Subject and text of an e-mail; the subject is the first line of its file. Facts cannot add header lines."""
    text = _texts.get_template(f"{template}.txt").render(Context(facts, autoescape=False))  # text, not HTML
    subject, _, body = text.partition("\n")
    return " ".join(subject.split()), body.lstrip("\n")


@contextmanager
def connection() -> Iterator[BaseEmailBackend]:
    """A connection for any number of letters. Raises Unreachable; InTransaction while a transaction is open."""
    refuse("mail was sent")
    link = mail.get_connection()
    try:
        link.open()
    except OSError as error:  # smtplib's are OSErrors too; a refused sign-in is our own mistake, and can be mended
        raise Unreachable(_said(error)) from error
    try:
        yield link
    finally:
        _close(link)


def _close(link: BaseEmailBackend) -> None:
    try:
        link.close()
    except OSError:
        return  # all that it had to do is done


def deliver(link: BaseEmailBackend, letter: Letter) -> None:
    """Hand over one letter. Raises Refused, Deferred, Disconnected; InTransaction while a transaction is open."""
    refuse("mail was sent")
    if not letter.to:
        raise Refused("there is no e-mail address any more")
    message = mail.EmailMessage(
        letter.subject, letter.text, to=[letter.to], headers={"Message-ID": letter.message_id}, connection=link
    )
    try:
        taken = chaos.call("smtp.send", message.send)
    except smtplib.SMTPRecipientsRefused as error:
        raise _verdict(*next(iter(error.recipients.values()))) from None
    except smtplib.SMTPDataError as error:
        raise _verdict(error.smtp_code, error.smtp_error) from None
    except smtplib.SMTPSenderRefused as error:  # the shop's own address: no fault of this letter
        raise Deferred(_said(error)) from None
    except OSError as error:
        raise Disconnected(_said(error)) from None
    except ValueError:
        raise Refused("this is not an e-mail address") from None
    if not taken:
        raise Deferred("the mail backend took nothing")


def _verdict(code: int, words: bytes | str) -> Exception:
    said = _clean(f"{code} {words.decode(errors='replace') if isinstance(words, bytes) else words}")
    if code == _CLOSING:
        return Disconnected(said)
    return Refused(said) if code >= _PERMANENT else Deferred(said)


def _said(error: OSError) -> str:
    return _clean(f"{type(error).__name__}: {error}")


def _clean(words: str) -> str:
    """Servers like to quote the address; it stays out of our tables, events and logs."""
    return re.sub(r"\S+@\S+", "(address)", re.sub(r"[\s\0]+", " ", words))[:300]
