"""Signatures of messages, made with the key that signs a context's calls.

The password of the broker alone is therefore not enough to announce or acknowledge events. A signature has no timestamp
because a repeated message changes nothing.
"""

import hmac

from django.conf import settings


def sign_message(sender: str, task: str, *parts: str) -> str:
    """Sign the parts of a message for one task, with the sender's current key."""
    return _compute_signature(settings.CALL_KEYS[sender][0], sender, task, *parts)


def has_valid_signature(signature: str, sender: str, task: str, *parts: str) -> bool:
    """Check a signature against all keys of the sender, in constant time."""
    keys = settings.CALL_KEYS.get(sender, ())
    expected = [_compute_signature(key, sender, task, *parts) for key in keys]
    return any([hmac.compare_digest(signature.encode(), one.encode()) for one in expected])


def _compute_signature(key: str, *parts: str) -> str:
    return hmac.digest(key.encode(), "\n".join(parts).encode(), "sha256").hex()
