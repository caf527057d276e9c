"""Hashing of passwords: a few at the same time, because each takes 100 MB of memory and all cores.

The web server has a queue for requests that hash a password (shop/request_buffer.py). What does not come through it waits
here: other WSGI servers, pages of staff, commands.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore

from django.conf import settings
from django.contrib.auth.hashers import check_password, make_password

from shop.errors import Overloaded

MAX_WAIT_SECONDS = 2.0  # a caller may be in a transaction, which PostgreSQL ends after 4 idle seconds

_slots = BoundedSemaphore(settings.PASSWORD_HASHING_THREADS)


def hash_password(password: str | None) -> str:
    """Hash a new password. The hash of None fits no password. Raises Overloaded."""
    with _take_slot():
        return make_password(password)


def verify_password(password: str, hashed: str, replace_hash: Callable[[str], None] | None = None) -> bool:
    """Return whether a password fits a hash. An empty hash fits none, after the same time.

    replace_hash: called with a new hash if the present one has former parameters. Raises Overloaded.
    """

    def upgrade(password: str) -> None:
        if replace_hash:
            replace_hash(make_password(password))

    with _take_slot():
        return check_password(password, hashed, upgrade)


@contextmanager
def _take_slot() -> Iterator[None]:
    """Wait for a slot. Raises Overloaded after MAX_WAIT_SECONDS."""
    if not _slots.acquire(timeout=MAX_WAIT_SECONDS):
        raise Overloaded
    try:
        yield
    finally:
        _slots.release()
