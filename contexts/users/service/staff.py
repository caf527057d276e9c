"""Changes of accounts by staff. Every change is audited in the same transaction.

Staff grant, take, disable and enable no more than they may do themselves: what counts are the permissions that the actor
has in the database now, not those of the token. A change of permissions ends the sessions in the admin, which have the
former ones.
"""

import re
import secrets
from collections.abc import Collection, Iterable
from typing import NamedTuple
from uuid import UUID

from contexts.users.models import User
from contexts.users.service import staff_sessions
from contexts.users.service.accounts import (
    EmailTaken,
    clean_email,
    find_user,
    insert_account,
    validate_password_strength,
)
from contexts.users.service.hashing import hash_password
from contexts.users.service.sessions import revoke_all_sessions
from shop.audit import audit
from shop.contexts import list_permissions
from shop.db.database import fetch_rows, transaction
from shop.errors import Conflict, Forbidden, Invalid, NotFound
from shop.http.tokens import Caller
from shop.permissions import ALL_PERMISSIONS, register_permission
from shop.security_events import AUTHZ_ADMIN, PASSWORD_CHANGE, PERMISSIONS_CHANGED
from shop.versions import assert_version, compute_row_version

GRANT_PERMISSION = register_permission("users.permissions")  # allows to grant and take the permissions that one has
CHANGE_PERMISSION = "users.change"
OPERATOR_ID = UUID(int=0)
_EVENTS = {
    "appoint": PERMISSIONS_CHANGED, "set permissions": PERMISSIONS_CHANGED, "set password": PASSWORD_CHANGE,
}  # fmt: skip
_PERMISSION_PATTERN = re.compile(r"\*|[a-z_]{1,30}\.[a-z_]{1,30}")

# Two changes at once could each leave the other one's account as the last with all permissions.
_LOCK_SQL = "SELECT pg_advisory_xact_lock(hashtextextended('users.staff', 0))"


class PermissionMalformed(Invalid):
    """A permission is <context>.<right> in lower case, or * for all permissions, not {permission}."""

    permission: str


class UnknownPermission(Invalid):
    """There is no permission {permission}. Known permissions: {known}."""

    permission: str
    known: str


class PermissionNotHeld(Forbidden):
    """You cannot grant or take {permission}, because you do not have it yourself."""

    permission: str


class AccountHasMorePermissions(Forbidden):
    """This account has a permission that you do not have: {permission}. Only staff who have it can do this."""

    permission: str


class StaffProtected(Forbidden):
    """This account belongs to staff. To disable or enable it you need the permission users.permissions."""


class LastSuperuser(Conflict):
    """This is the last active account with all permissions. Grant * to another account first."""


class StaffAccount(NamedTuple):
    """An account and its permissions."""

    id: UUID
    is_active: bool
    permissions: list[str]


def as_operator(name: str) -> Caller:
    """Return the actor of a command, which an operator with a shell runs: it may do everything."""
    return Caller(OPERATOR_ID, name, frozenset({ALL_PERMISSIONS}))


def find_account(email: str) -> StaffAccount | None:
    """Return the account with this e-mail address."""
    user = find_user(email)
    return StaffAccount(user.id, user.is_active, user.permissions) if user else None


def generate_password() -> str:
    """Return a random password for an account that becomes one of staff."""
    return secrets.token_urlsafe(16)


def set_permissions(user_id: UUID, *, permissions: list[str], actor: Caller, expected_version: str = "") -> str:
    """Set a user's permissions. A user without permissions is a customer.

    A customer who becomes staff gets a new password, which is returned, and loses all sessions: a stranger may have
    registered the address. The password of staff stays, and the result is empty.
    Raises PermissionMalformed, UnknownPermission, Forbidden, PermissionNotHeld, LastSuperuser, NotFound, and
    PreconditionFailed if the account has another version.
    """
    permissions = sorted(set(permissions))
    with transaction("users"):
        held = _authorize(actor, GRANT_PERMISSION)
        user = _lock_user(user_id)
        assert_version("users", "user", user_id, current=get_version(user), expected=expected_version)
        password = generate_password() if permissions and not user.permissions else ""
        if password:
            _set_password(user, password, actor)
        _set_permissions(user, permissions, held, actor)
    return password


def get_version(user: User) -> str:
    """Return the version of an account as staff see it: it changes with the permissions, and when it is disabled."""
    return compute_row_version(user, ("permissions", "is_active"))


def disable(user_id: UUID, *, actor: Caller) -> None:
    """Disable an account and revoke its sessions.

    Staff are disabled only by staff with the right to grant permissions.
    Raises Forbidden, AccountHasMorePermissions, StaffProtected, LastSuperuser, NotFound.
    """
    with transaction("users"):
        held = _authorize(actor, CHANGE_PERMISSION)
        user = _lock_user(user_id)
        _assert_may_decide_about(user, held)
        if user.is_active:
            _assert_not_last_superuser(user)
            User.objects.filter(id=user_id).update(is_active=False)
            revoke_all_sessions(user_id)
            _audit(user, actor, "disable")


def enable(user_id: UUID, *, actor: Caller) -> None:
    """Enable a disabled account. Raises what `disable` raises but LastSuperuser."""
    with transaction("users"):
        held = _authorize(actor, CHANGE_PERMISSION)
        user = _lock_user(user_id)
        _assert_may_decide_about(user, held)
        _enable(user, actor)


def create(*, email: str, password: str, permissions: list[str], actor: Caller) -> None:
    """Create an account with permissions.

    Raises EmailInvalid, EmailTaken, WeakPassword, PermissionMalformed, UnknownPermission, Forbidden, PermissionNotHeld.
    """
    permissions = sorted(set(permissions))
    user = User(email=clean_email(email), full_name="Staff", permissions=permissions)
    _validate_permissions(permissions)
    validate_password_strength(password, user)
    user.password = hash_password(password)
    with transaction("users"):
        _assert_holds_changes(_authorize(actor, GRANT_PERMISSION), permissions)
        if not insert_account(user):
            raise EmailTaken
        _audit(user, actor, "appoint", permissions=permissions)


def take_over(
    user_id: UUID, *, permissions: list[str] | None, password: str, is_enabled: bool, actor: Caller
) -> StaffAccount:
    """Give an existing account to a member of staff: a new password, no session, these permissions. Returns the account.

    permissions: None leaves them as they are. is_enabled: enable a disabled account.
    Raises what `set_permissions` and `enable` raise, and WeakPassword.
    """
    with transaction("users"):
        held = _authorize(actor, GRANT_PERMISSION, CHANGE_PERMISSION)
        user = _lock_user(user_id)
        _assert_holds_all(held, user.permissions)
        if is_enabled:
            _enable(user, actor)
        _set_password(user, password, actor)
        if permissions is not None:
            _set_permissions(user, sorted(set(permissions)), held, actor)
        user.refresh_from_db()
    return StaffAccount(user.id, user.is_active, user.permissions)


def _set_permissions(user: User, permissions: list[str], held: Collection[str], actor: Caller) -> None:
    if user.permissions == permissions:
        return
    _validate_permissions(permission for permission in permissions if permission not in user.permissions)
    _assert_holds_changes(held, {*user.permissions} ^ {*permissions})
    if ALL_PERMISSIONS not in permissions and user.is_active:
        _assert_not_last_superuser(user)
    User.objects.filter(id=user.id).update(permissions=permissions)
    staff_sessions.revoke_all(user.id)
    _audit(user, actor, "set permissions", before=user.permissions, after=permissions)


def _set_password(user: User, password: str, actor: Caller) -> None:
    validate_password_strength(password, user)
    User.objects.filter(id=user.id).update(password=hash_password(password))
    revoke_all_sessions(user.id)
    _audit(user, actor, "set password")


def _enable(user: User, actor: Caller) -> None:
    if not user.is_active:
        User.objects.filter(id=user.id).update(is_active=True)
        _audit(user, actor, "enable")


def _authorize(actor: Caller, *required: str) -> frozenset[str]:
    """Return the present permissions of the actor, after the changes of other staff. Raises Forbidden.

    Staff are changed one after the other: the lock is held until the end of the transaction.
    """
    fetch_rows("users", _LOCK_SQL)
    held = _load_permissions(actor)
    if not all(_is_held(held, permission) for permission in required):
        raise Forbidden
    return held


def _load_permissions(actor: Caller) -> frozenset[str]:
    if actor.id == OPERATOR_ID:
        return actor.permissions
    user = User.objects.filter(id=actor.id, is_active=True).first()
    return frozenset(user.permissions) if user else frozenset()


def _is_held(held: Collection[str], permission: str) -> bool:
    return permission in held or ALL_PERMISSIONS in held


def _assert_holds_changes(held: Collection[str], changed: Iterable[str]) -> None:
    for permission in sorted(changed):
        if not _is_held(held, permission):
            raise PermissionNotHeld(permission=permission)


def _assert_holds_all(held: Collection[str], permissions: Iterable[str]) -> None:
    for permission in permissions:
        if not _is_held(held, permission):
            raise AccountHasMorePermissions(permission=permission)


def _assert_may_decide_about(user: User, held: Collection[str]) -> None:
    """Assert that the actor may disable or enable an account. Raises AccountHasMorePermissions, StaffProtected.

    The right to change customers is not enough for staff: to disable them takes what they were granted.
    """
    _assert_holds_all(held, user.permissions)
    if user.permissions and not _is_held(held, GRANT_PERMISSION):
        raise StaffProtected


def _assert_not_last_superuser(user: User) -> None:
    """Raise LastSuperuser if no other active account has all permissions. The lock of `_authorize` has to be held."""
    if ALL_PERMISSIONS not in user.permissions:
        return
    others = User.objects.filter(is_active=True, permissions__contains=[ALL_PERMISSIONS]).exclude(id=user.id)
    if not others.exists():
        raise LastSuperuser


def _lock_user(user_id: UUID) -> User:
    user = User.objects.select_for_update().filter(id=user_id).first()
    if user is None:
        raise NotFound
    return user


def _validate_permissions(permissions: Iterable[str]) -> None:
    for permission in permissions:
        if not _PERMISSION_PATTERN.fullmatch(permission):
            raise PermissionMalformed(permission=permission)
        known = [ALL_PERMISSIONS, *list_permissions()]
        if permission not in known:
            raise UnknownPermission(permission=permission, known=", ".join(known))


def _audit(user: User, actor: Caller, action: str, **detail: list[str]) -> None:
    event = _EVENTS.get(action, AUTHZ_ADMIN)
    name = actor.get_username()
    audit("users", event, actor=name, action=action, object_type="user", object_id=user.id, **detail)
