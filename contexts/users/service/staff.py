"""What staff do to accounts. Every change is audited in its own transaction.

A token that is out keeps its permissions until it has run out, five minutes at most; no new one is given.
"""

import re
from uuid import UUID

from django.contrib.auth.hashers import make_password

from contexts.users.models import User
from contexts.users.service.accounts import check_strength, deliverable, insert
from contexts.users.service.sessions import revoke_all
from shop.audit import audit
from shop.database import transaction
from shop.errors import Invalid, NotFound

_PERMISSION = re.compile(r"\*|[a-z_]{1,30}\.[a-z_]{1,30}")


class PermissionMalformed(Invalid):
    """A permission is <context>.<right>, in lower case, or * for all; this is neither: {permission}"""

    permission: str


def set_permissions(user_id: UUID, *, permissions: list[str], actor: str) -> None:
    """Say what somebody may do; nothing at all makes a customer of them. Raises PermissionMalformed, NotFound."""
    wanted = _checked(permissions)
    with transaction("users"):
        user = _locked(user_id)
        if user.permissions == wanted:
            return
        User.objects.filter(id=user_id).update(permissions=wanted)
        _audit(user, actor, "set permissions", before=user.permissions, after=wanted)


def disable(user_id: UUID, *, actor: str) -> None:
    """Let somebody not sign in any more, and end their sessions. Raises NotFound."""
    with transaction("users"):
        user = _locked(user_id)
        if user.is_active:
            User.objects.filter(id=user_id).update(is_active=False)
            revoke_all(user_id)
            _audit(user, actor, "disable")


def enable(user_id: UUID, *, actor: str) -> None:
    """Let somebody sign in again. Raises NotFound."""
    with transaction("users"):
        user = _locked(user_id)
        if not user.is_active:
            User.objects.filter(id=user_id).update(is_active=True)
            _audit(user, actor, "enable")


def appoint(*, email: str, password: str | None, permissions: list[str], actor: str) -> None:
    """Make staff of the account with this address, and open it if there is none.

    password: None leaves an existing account's as it is; a new one ends its sessions.
    Raises EmailInvalid, WeakPassword, PermissionMalformed.
    """
    wanted = _checked(permissions)
    user = User(email=deliverable(email), full_name="Staff", permissions=wanted)
    if password is not None:
        check_strength(password, user)
    user.password = make_password(password)
    with transaction("users"):
        if not insert(user):
            user = User.objects.select_for_update().get(email=user.email)
            _reappoint(user, password, wanted)
        _audit(user, actor, "appoint", permissions=wanted)


def _reappoint(user: User, password: str | None, permissions: list[str]) -> None:
    user.permissions = permissions
    if password is not None:
        user.set_password(password)
        revoke_all(user.id)
    user.save(update_fields=["permissions", "password"])


def _locked(user_id: UUID) -> User:
    user = User.objects.select_for_update().filter(id=user_id).first()
    if user is None:
        raise NotFound
    return user


def _checked(permissions: list[str]) -> list[str]:
    for permission in permissions:
        if not _PERMISSION.fullmatch(permission):
            raise PermissionMalformed(permission=permission)
    return sorted(set(permissions))


def _audit(user: User, actor: str, action: str, **detail: list[str]) -> None:
    audit("users", actor=actor, action=action, object_type="user", object_id=user.id, **detail)
