"""Changes of accounts by staff. Every change is audited in the same transaction.

A staff token that has been issued keeps its permissions until it expires, after five minutes at most.
"""

import re
from uuid import UUID

from django.contrib.auth.hashers import make_password

from contexts.users.models import User
from contexts.users.service.accounts import clean_email, insert_account, validate_password_strength
from contexts.users.service.sessions import revoke_all_sessions
from shop.audit import audit
from shop.db.database import transaction
from shop.errors import Invalid, NotFound

_PERMISSION_PATTERN = re.compile(r"\*|[a-z_]{1,30}\.[a-z_]{1,30}")


class PermissionMalformed(Invalid):
    """A permission is <context>.<right> in lower case, or * for all permissions, not {permission}."""

    permission: str


def set_permissions(user_id: UUID, *, permissions: list[str], actor: str) -> None:
    """Set a user's permissions. A user without permissions is a customer. Raises PermissionMalformed, NotFound."""
    permissions = _validate_permissions(permissions)
    with transaction("users"):
        user = _lock_user(user_id)
        if user.permissions == permissions:
            return
        User.objects.filter(id=user_id).update(permissions=permissions)
        _audit(user, actor, "set permissions", before=user.permissions, after=permissions)


def disable(user_id: UUID, *, actor: str) -> None:
    """Disable an account and revoke its sessions. Raises NotFound."""
    with transaction("users"):
        user = _lock_user(user_id)
        if user.is_active:
            User.objects.filter(id=user_id).update(is_active=False)
            revoke_all_sessions(user_id)
            _audit(user, actor, "disable")


def enable(user_id: UUID, *, actor: str) -> None:
    """Enable a disabled account. Raises NotFound."""
    with transaction("users"):
        user = _lock_user(user_id)
        if not user.is_active:
            User.objects.filter(id=user_id).update(is_active=True)
            _audit(user, actor, "enable")


def create_or_update_staff(*, email: str, password: str | None, permissions: list[str], actor: str) -> None:
    """Grant permissions to the account with this address. Creates the account if it does not exist.

    password: None keeps the password of an existing account. A new password revokes its sessions.
    Raises EmailInvalid, WeakPassword, PermissionMalformed.
    """
    permissions = _validate_permissions(permissions)
    user = User(email=clean_email(email), full_name="Staff", permissions=permissions)
    if password is not None:
        validate_password_strength(password, user)
    user.password = make_password(password)
    with transaction("users"):
        if not insert_account(user):
            user = User.objects.select_for_update().get(email=user.email)
            _update_staff(user, password, permissions)
        _audit(user, actor, "appoint", permissions=permissions)


def _update_staff(user: User, password: str | None, permissions: list[str]) -> None:
    user.permissions = permissions
    if password is not None:
        user.set_password(password)
        revoke_all_sessions(user.id)
    user.save(update_fields=["permissions", "password"])


def _lock_user(user_id: UUID) -> User:
    user = User.objects.select_for_update().filter(id=user_id).first()
    if user is None:
        raise NotFound
    return user


def _validate_permissions(permissions: list[str]) -> list[str]:
    for permission in permissions:
        if not _PERMISSION_PATTERN.fullmatch(permission):
            raise PermissionMalformed(permission=permission)
    return sorted(set(permissions))


def _audit(user: User, actor: str, action: str, **detail: list[str]) -> None:
    audit("users", actor=actor, action=action, object_type="user", object_id=user.id, **detail)
