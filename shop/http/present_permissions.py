"""The present permissions of a caller. A token has those of the time when it was issued, up to five minutes ago."""

from collections.abc import Callable
from uuid import UUID

from shop.errors import Unauthenticated
from shop.http.tokens import Caller

PermissionReader = Callable[[UUID, UUID | None], tuple[str, ...]]
_reader: list[PermissionReader] = []  # one, set by the composition root: the kernel does not know who has the accounts


def set_reader(reader: PermissionReader) -> None:
    """Set the function that returns the present permissions of a user, by the ids of the user and of the session."""
    _reader[:] = [reader]


def read(caller: Caller) -> Caller:
    """Return the caller with the present permissions.

    Raises Unauthenticated if the account is disabled or the session has ended, and Unavailable if users does not respond.
    """
    permissions = _reader[0](caller.id, caller.session_id)
    if not permissions:
        raise Unauthenticated().because("session_ended")
    return Caller(caller.id, caller.name, frozenset(permissions), caller.session_id)
