"""Signatures of internal calls: HMAC-SHA-256 under a key of the calling context, valid once and for a short time.

A context can have several keys in CALL_KEYS: the first one signs and all of them verify, so that keys can be rotated
without downtime.
"""

import hmac
import secrets
import threading
import time

import msgspec
from django.conf import settings

from shop.calls import tracing

SCHEME = "Satsuma"
SIGNATURE_WINDOW_SECONDS = 30  # validity of a signature, and the difference that two clocks may have


class InvalidSignature(Exception):
    """The request was not signed by a known caller, for this path, trace and body, within the time window."""


class NonceReused(Exception):
    """The request was received before; the outcome of the first one is not known here."""


def build_headers(path: str, body: bytes, seconds: float) -> dict[str, str]:
    """Return the headers of a signed request whose caller waits for `seconds`."""
    caller, trace = settings.CONTEXTS[0], msgspec.json.encode(tracing.get_current_trace()).decode()
    signed_fields = f"{caller} {int(time.time())} {secrets.token_hex(12)} {int(seconds * 1000)}"
    signature = _sign(settings.CALL_KEYS[caller][0], path, signed_fields, trace, body)
    return {
        "Authorization": f"{SCHEME} {signed_fields} {signature}",
        "Satsuma-Trace": trace,
        "Content-Type": "application/json",
    }


def verify_signature(path: str, authorization: str, trace: str, body: bytes) -> float:
    """Return the seconds that the caller had left when it signed. Raises InvalidSignature and NonceReused."""
    try:
        scheme, caller, at, nonce, milliseconds, signature = authorization.split(" ")
        signed_fields = f"{caller} {at} {nonce} {milliseconds}"
        keys = settings.CALL_KEYS[caller]
        is_fresh = abs(time.time() - int(at)) <= SIGNATURE_WINDOW_SECONDS
        seconds = int(milliseconds) / 1000
    except (ValueError, KeyError):
        raise InvalidSignature from None
    given = signature.encode()
    expected = [_sign(key, path, signed_fields, trace, body).encode() for key in keys]
    # The list, not a generator, compares with every key: the time taken does not depend on which one matches.
    is_signed = any([hmac.compare_digest(given, one) for one in expected])
    if scheme != SCHEME or not is_signed or not is_fresh:
        raise InvalidSignature
    if not _nonce_store.add(nonce):
        raise NonceReused
    return seconds


def _sign(key: str, path: str, signed_fields: str, trace: str, body: bytes) -> str:
    message = b"\n".join((path.encode(), signed_fields.encode(), trace.encode(), body))
    return hmac.digest(key.encode(), message, "sha256").hex()


class _NonceStore:
    """The nonces of the time window, so that a recorded request cannot be replayed."""

    def __init__(self) -> None:
        self.nonces: dict[str, float] = {}  # and when each may be forgotten, oldest first
        self.lock = threading.Lock()

    def add(self, nonce: str) -> bool:
        """Store a nonce. Returns False if it is already known."""
        now = time.time()
        with self.lock:
            for old in list(self.nonces):
                if self.nonces[old] > now:
                    break
                del self.nonces[old]
            if nonce in self.nonces:
                return False
            self.nonces[nonce] = now + 2 * SIGNATURE_WINDOW_SECONDS
            return True


_nonce_store = _NonceStore()
