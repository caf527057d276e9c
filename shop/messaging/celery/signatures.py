"""Signatures of messages, made with the key that signs a context's calls.

The password of the broker alone is therefore not enough to announce or acknowledge events. A signature has no timestamp
because a repeated message changes nothing.
"""

import hmac

from shop.calls.call_keys import get_call_keys


def sign_message(sender: str, task: str, receiver: str, body: str) -> str:
    """Sign a message for one task, with the current key from its sender to its receiver."""
    return _compute_signature(get_call_keys(sender, receiver)[0], sender, task, receiver, body)


def has_valid_signature(signature: str, sender: str, task: str, receiver: str, body: str) -> bool:
    """Check a signature against all keys from the sender to the receiver, in constant time."""
    keys = get_call_keys(sender, receiver)
    expected = [_compute_signature(key, sender, task, receiver, body) for key in keys]
    return any([hmac.compare_digest(signature.encode(), one.encode()) for one in expected])


def _compute_signature(key: str, *parts: str) -> str:
    return hmac.digest(key.encode(), "\n".join(parts).encode(), "sha256").hex()
