"""Signatures of internal calls: HMAC-SHA-256 under a key of the calling context, valid for a short time.

There can be several keys from a context to another one: the first one signs and all of them verify, so that keys can be
rotated without downtime.
"""

import hmac
import secrets
import time
from typing import NamedTuple

import msgspec
from django.conf import settings

from shop import clients
from shop.calls import tracing
from shop.calls.call_keys import get_call_keys
from shop.calls.remote.nonces import SIGNATURE_WINDOW_SECONDS

SCHEME = "Satsuma"


class InvalidSignature(Exception):
    """The request was not signed by a known caller, for this path, trace and body, within the time window."""


class SignedCall(NamedTuple):
    """The signed facts of a call: its nonce, and the seconds that its caller had left."""

    nonce: str
    seconds: float


def build_headers(path: str, body: bytes, seconds: float) -> dict[str, str]:
    """Return the headers of a signed request whose caller waits for `seconds`."""
    present = msgspec.structs.replace(tracing.get_current_trace(), client=clients.current.get())
    caller, trace = settings.CONTEXTS[0], msgspec.json.encode(present).decode()
    signed_fields = f"{caller} {int(time.time())} {secrets.token_hex(12)} {int(seconds * 1000)}"
    signature = _sign(get_call_keys(caller, _get_callee(path))[0], path, signed_fields, trace, body)
    return {
        "Authorization": f"{SCHEME} {signed_fields} {signature}",
        "Satsuma-Trace": trace,
        "Content-Type": "application/json",
    }


def verify_signature(path: str, authorization: str, trace: str, body: bytes) -> SignedCall:
    """Verify the signature of a call. Raises InvalidSignature. Whether the nonce is new has to be checked next."""
    try:
        scheme, caller, at, nonce, milliseconds, signature = authorization.split(" ")
        signed_fields = f"{caller} {at} {nonce} {milliseconds}"
        keys = get_call_keys(caller, _get_callee(path))
        is_fresh = abs(time.time() - int(at)) <= SIGNATURE_WINDOW_SECONDS
        seconds = int(milliseconds) / 1000
    except ValueError:
        raise InvalidSignature from None
    given = signature.encode()
    expected = [_sign(key, path, signed_fields, trace, body).encode() for key in keys]
    # The list, not a generator, compares with every key: the time taken does not depend on which one matches.
    is_signed = any([hmac.compare_digest(given, one) for one in expected])
    if scheme != SCHEME or not is_signed or not is_fresh:
        raise InvalidSignature
    return SignedCall(nonce, seconds)


def _get_callee(path: str) -> str:
    return path.split("/")[1]


def _sign(key: str, path: str, signed_fields: str, trace: str, body: bytes) -> str:
    message = b"\n".join((path.encode(), signed_fields.encode(), trace.encode(), body))
    return hmac.digest(key.encode(), message, "sha256").hex()
