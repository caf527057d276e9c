"""The ends of an attempt to send an e-mail other than acceptance, as errors, and what of a reply is stored."""

import re

from contexts.notifications.channels.international_email import InternationalEmail
from shop.addresses.email import is_international

CLOSING_REPLY_CODE = 421
_MIN_PERMANENT_REPLY_CODE = 500
_MAX_REPLY_LENGTH = 300  # characters that are stored of a server's reply


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


def to_delivery_error(code: int, reply: bytes | str) -> Exception:
    """Return the error for a negative reply of the server."""
    text = describe_reply(code, reply)
    if code == CLOSING_REPLY_CODE:
        return Disconnected(text)
    return Refused(text) if code >= _MIN_PERMANENT_REPLY_CODE else Deferred(text)


def to_unsupported_error(mail: InternationalEmail) -> Exception:
    """Return the error for an international address at a server without SMTPUTF8."""
    if is_international(mail.sender):
        return Deferred("DEFAULT_FROM_EMAIL is an international address, which the mail server does not support")
    return Refused("the address is international, and the mail server does not support that (SMTPUTF8, RFC 6531)")


def describe_reply(code: int, reply: bytes | str) -> str:
    text = reply.decode(errors="replace") if isinstance(reply, bytes) else reply
    return _redact_addresses(f"{code} {text}")


def describe_error(error: OSError) -> str:
    return _redact_addresses(f"{type(error).__name__}: {error}")


def _redact_addresses(text: str) -> str:
    """Remove e-mail addresses, which servers often quote, so that none is stored in tables, events or logs."""
    return re.sub(r"\S+@\S+", "(address)", re.sub(r"[\s\0]+", " ", text))[:_MAX_REPLY_LENGTH]
