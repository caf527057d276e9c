"""Passwords of staff: changed by their owner in the admin, or set by an operator with a command."""

from uuid import UUID

from contexts.users.interface import SignInFailed, WeakPassword
from contexts.users.models import User
from contexts.users.service import sessions
from contexts.users.service.accounts import (
    EmailTaken,
    clean_email,
    find_user,
    insert_account,
    validate_password_strength,
)
from contexts.users.service.hashing import hash_password
from shop.audit import audit
from shop.db.database import transaction
from shop.errors import NotFound
from shop.security_events import PASSWORD_CHANGE, PASSWORD_CHANGE_FAIL, PERMISSIONS_CHANGED
from shop.security_log import log_security_event


class AccountNotFound(NotFound):
    """There is no account with the e-mail address {email}."""

    email: str


def change_password(user_id: UUID, *, current_password: str, new_password: str, address: str) -> None:
    """Implement `Users.change_staff_password`. A wrong current password counts as a failed sign-in."""
    user = User.objects.filter(id=user_id).first()
    if user is None:
        raise SignInFailed
    sessions.authenticate(user.email, current_password, address, "staff")
    try:
        is_changed = _replace_password(user, new_password, actor=user.email)
    except WeakPassword:
        log_security_event(PASSWORD_CHANGE_FAIL, reason="weak_password", account=user_id)
        raise
    if not is_changed:
        log_security_event(PASSWORD_CHANGE_FAIL, reason="changed_meanwhile", account=user_id)
        raise SignInFailed  # a concurrent request has changed it


def set_password(email: str, *, password: str, actor: str) -> None:
    """Set the password of an account and revoke its sessions. Raises AccountNotFound, WeakPassword."""
    user = find_user(email)
    if user is None:
        raise AccountNotFound(email=email)
    while not _replace_password(user, password, actor=actor):
        user.refresh_from_db()


def _replace_password(user: User, password: str, *, actor: str) -> bool:
    """Replace the password that the row was read with, and revoke the sessions. Returns False if it has another one."""
    validate_password_strength(password, user)
    hashed = hash_password(password)
    with transaction("users"):
        if not User.objects.filter(id=user.id, password=user.password).update(password=hashed):
            return False
        sessions.revoke_all_sessions(user.id)
        audit("users", PASSWORD_CHANGE, actor=actor, action="change password", object_type="user", object_id=user.id)
    return True


def create_superuser(*, email: str, password: str | None, full_name: str, actor: str) -> None:
    """Create an account with all permissions. With None it has no password, and cannot sign in until one is set.

    Raises EmailInvalid, EmailTaken, WeakPassword.
    """
    user = User(email=clean_email(email), full_name=full_name, permissions=["*"])
    if password is not None:
        validate_password_strength(password, user)
    user.password = hash_password(password)
    with transaction("users"):
        if not insert_account(user):
            raise EmailTaken
        audit(
            "users",
            PERMISSIONS_CHANGED,
            actor=actor,
            action="appoint",
            object_type="user",
            object_id=user.id,
            permissions=["*"],
        )
