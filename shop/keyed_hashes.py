"""Keyed hashes: HMAC-SHA-256 under SECRET_KEY, so that stored values reveal nothing outside of the shop.

A hash outlives a change of SECRET_KEY: what was computed under a former key is recognized as long as that key is in
SECRET_KEY_FALLBACKS. Look stored hashes up with `compute_keyed_hashes`, and compare given ones with `is_keyed_hash`.
"""

import hashlib
import hmac

from django.conf import settings


def get_secrets() -> list[str]:
    """Return SECRET_KEY, then SECRET_KEY_FALLBACKS."""
    return list(dict.fromkeys([settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]))


def compute_keyed_hash(data: bytes) -> str:
    """Compute the hash of new data, 64 hexadecimal digits."""
    return _compute_hash(settings.SECRET_KEY, data)


def compute_keyed_hashes(data: bytes) -> list[str]:
    """Compute the hash under SECRET_KEY, then those under SECRET_KEY_FALLBACKS."""
    return [_compute_hash(secret, data) for secret in get_secrets()]


def is_keyed_hash(value: str, data: bytes) -> bool:
    """Return whether a value is the hash of the data under SECRET_KEY or a fallback. Takes the same time for each."""
    return any([is_same_hash(value, expected) for expected in compute_keyed_hashes(data)])


def is_same_hash(one: str, other: str) -> bool:
    """Compare two hashes in constant time."""
    return hmac.compare_digest(one.encode(), other.encode())


def _compute_hash(secret: str, data: bytes) -> str:
    return hmac.new(secret.encode(), data, hashlib.sha256).hexdigest()
