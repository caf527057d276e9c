"""Who sent a message: sealed with the key that the context's calls are signed with, so that a broker's password is not enough
to announce or to acknowledge anything. What is said twice changes nothing, so a seal has no time.
"""

import hmac

from django.conf import settings


def seal(sender: str, task: str, *said: str) -> str:
    """The sender's, for these words and this task."""
    return _seal(settings.CALL_KEYS[sender][0], sender, task, *said)


def is_sealed(given: str, sender: str, task: str, *said: str) -> bool:
    """Whether it was made by the sender, with any of its keys."""
    keys = settings.CALL_KEYS.get(sender, ())
    return any([hmac.compare_digest(given.encode(), _seal(key, sender, task, *said).encode()) for key in keys])


def _seal(key: str, *said: str) -> str:
    return hmac.digest(key.encode(), "\n".join(said).encode(), "sha256").hex()
