"""Sessions of staff in the admin: rows in the database, so that one ends at once when it is revoked.

The signed cookie of the admin has a staff token that names the session. Each request asks for it here: one UPDATE checks
that it has not ended, and records that it is in use. A copy of the cookie is worth nothing after sign-out, a new password,
other permissions, or when the account is disabled; and it ends by itself, STAFF_SESSION_IDLE_SECONDS after the last
request, and STAFF_SESSION_SECONDS after sign-in.
"""

from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

from django.conf import settings

from contexts.users.interface import SignInFailed, StaffSession
from contexts.users.models import User
from contexts.users.service import signing
from shop.db.database import execute, fetch_rows, transaction
from shop.http.tokens import STAFF
from shop.ids import uuid7
from shop.security_events import LOGIN_FAIL, TOKEN_REVOKED
from shop.security_log import log_security_event

STAFF_TOKEN_LIFETIME = timedelta(minutes=5)

# The password and the permissions are those that were read at sign-in: a change meanwhile has ended all sessions.
START_SESSION_SQL = """
INSERT INTO users_staffsession (id, user_id)
SELECT %(session_id)s, id FROM users_user
WHERE id = %(user_id)s AND is_active AND permissions <> '{}'
  AND password = %(password)s AND permissions = %(permissions)s::varchar[] FOR SHARE"""

USE_SESSION_SQL = """
UPDATE users_staffsession AS session SET used_at = now()
FROM users_user AS owner
WHERE session.id = %(session_id)s AND session.user_id = %(user_id)s AND NOT session.revoked
  AND session.used_at > now() - %(idle)s AND session.began_at > now() - %(lifetime)s
  AND owner.id = session.user_id AND owner.is_active AND owner.permissions <> '{}'
RETURNING owner.id, owner.email, owner.full_name, owner.permissions"""

_END_SESSION_SQL = "UPDATE users_staffsession SET revoked = true WHERE id = %s AND user_id = %s AND NOT revoked"
_REVOKE_ALL_SQL = "UPDATE users_staffsession SET revoked = true WHERE user_id = %s AND NOT revoked"


class StaffMember(NamedTuple):
    """The owner of a session, as `signing.TokenSubject` requires."""

    id: UUID
    email: str
    full_name: str
    permissions: list[str]


def start(user: User) -> StaffSession:
    """Start a session of staff whose password was checked. Raises SignInFailed if the account has changed meanwhile."""
    session_id = uuid7()
    account = {"user_id": user.id, "password": user.password, "permissions": user.permissions}
    with transaction("users"):
        if not execute("users", START_SESSION_SQL, {"session_id": session_id, **account}):
            log_security_event(LOGIN_FAIL, reason="changed_meanwhile", account=user.id, entrance="staff")
            raise SignInFailed
    return _build_session(user, session_id)


def renew(user_id: UUID, session_id: UUID | None) -> StaffSession:
    """Implement `Users.renew_staff`."""
    lifetimes = {
        "idle": timedelta(seconds=settings.STAFF_SESSION_IDLE_SECONDS),
        "lifetime": timedelta(seconds=settings.STAFF_SESSION_SECONDS),
    }
    with transaction("users"):
        rows = fetch_rows("users", USE_SESSION_SQL, {"user_id": user_id, "session_id": session_id, **lifetimes})
    if not rows or session_id is None:
        raise SignInFailed
    return _build_session(StaffMember(*rows[0]), session_id)


def end(user_id: UUID, session_id: UUID) -> None:
    """Implement `Users.end_staff_session`."""
    with transaction("users"):
        has_ended = execute("users", _END_SESSION_SQL, [session_id, user_id])
    if has_ended:
        log_security_event(TOKEN_REVOKED, reason="sign_out", account=user_id, entrance="staff", session=str(session_id))


def revoke_all(user_id: UUID) -> None:
    """Revoke all sessions of a user in the admin, inside the caller's transaction."""
    execute("users", _REVOKE_ALL_SQL, [user_id])


def _build_session(user: signing.TokenSubject, session_id: UUID) -> StaffSession:
    token = signing.sign_token(user, kind=STAFF, lifetime=STAFF_TOKEN_LIFETIME, session_id=session_id)
    seconds = int(STAFF_TOKEN_LIFETIME.total_seconds())
    return StaffSession(token=token, lasts_seconds=seconds, email=user.email, permissions=tuple(user.permissions))
