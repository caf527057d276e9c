"""Sessions: sign-in, rotation of refresh tokens, sign-out.

A refresh token can be used once (RFC 9700, 4.14.2). Rotation is one conditional UPDATE, so that the database decides
which of several concurrent requests uses the token. Its successor is derived from it with the shop's secret: two tabs
that refresh at once, or a client whose response was lost, get the same successor for REFRESH_GRACE_SECONDS, and a session
never has two usable tokens. A repeat after that time, or after the successor was used, proves that two clients have the
token, and the whole token family is revoked. Revocation is a flag of the family that each rotation reads, so a token that
is inserted while its family is revoked is never valid.
"""

import base64
import hmac
import secrets
from datetime import timedelta
from hashlib import sha256
from typing import NamedTuple
from uuid import UUID

import structlog
from django.conf import settings

from contexts.users.interface import SignInFailed, StaffSession
from contexts.users.models import User
from contexts.users.service import signing, staff_sessions
from contexts.users.service.accounts import find_user, normalize_email
from contexts.users.service.hashing import verify_password
from contexts.users.service.sign_in_throttle import Entrance, SignInThrottle
from shop.calls.services import DTO
from shop.db.database import execute, fetch_rows, transaction
from shop.errors import Overloaded, TooManyRequests, Unauthenticated
from shop.http.tokens import ACCESS
from shop.ids import uuid7
from shop.keyed_hashes import get_secrets
from shop.security_events import (
    LOGIN_FAIL,
    LOGIN_FAIL_MAX,
    LOGIN_SUCCESS,
    REFRESH_FAIL,
    TOKEN_REUSE,
    TOKEN_REVOKED,
)
from shop.security_log import hash_email, log_security_event

log = structlog.get_logger(__name__)

_INSERT_FAMILY_SQL = """
INSERT INTO users_tokenfamily (id, user_id, revoked)
SELECT %(family_id)s, id, false FROM users_user
WHERE id = %(user_id)s AND is_active AND password = %(password)s FOR SHARE"""

_INSERT_TOKEN_SQL = """
INSERT INTO users_refreshtoken (digest, family_id, expires_at)
VALUES (%(digest)s, %(family_id)s, now() + %(lifetime)s)"""

ROTATE_TOKEN_SQL = """
UPDATE users_refreshtoken AS token SET used_at = coalesce(token.used_at, now())
FROM users_tokenfamily AS family, users_user AS owner
WHERE token.digest = %(digest)s AND token.expires_at > now()
  AND (token.used_at IS NULL OR (%(grace)s > interval '0' AND token.used_at > now() - %(grace)s))
  AND family.id = token.family_id AND NOT family.revoked AND family.began_at > now() - %(longest)s
  AND owner.id = family.user_id AND owner.is_active
RETURNING family.id, owner.id, owner.email, owner.full_name, owner.permissions, token.used_at = now()"""

_PRESENT_PERMISSIONS_SQL = """
SELECT permissions FROM users_user AS account
WHERE id = %(user_id)s AND is_active
  AND (%(session_id)s::uuid IS NULL OR EXISTS (
      SELECT FROM users_tokenfamily WHERE id = %(session_id)s AND user_id = account.id AND NOT revoked))"""

_FIND_UNUSED_TOKENS_SQL = "SELECT digest FROM users_refreshtoken WHERE digest = ANY(%s) AND used_at IS NULL"

_REVOKE_FAMILY_SQL = """
UPDATE users_tokenfamily AS family SET revoked = true FROM users_refreshtoken AS token
WHERE NOT family.revoked AND token.digest = %s AND family.id = token.family_id
RETURNING family.id, family.user_id, CASE WHEN token.used_at IS NOT NULL THEN 'used_before'
                                          WHEN token.expires_at <= now() THEN 'expired'
                                          ELSE 'session_or_account_ended' END"""


class RefreshRefused(Unauthenticated):
    """This refresh token is invalid or no longer valid. Sign in again."""

    security_event = None  # `refresh` logs it


class Tokens(DTO):
    """The tokens of a session: a short-lived access token, and a refresh token to get the next pair."""

    access: str
    refresh: str


class RotatedToken(NamedTuple):
    """The token family of a rotated refresh token, its user, and the refresh token that follows it."""

    family_id: UUID
    user_id: UUID
    email: str
    full_name: str
    permissions: list[str]
    is_first_use: bool
    successor: str

    @property
    def id(self) -> UUID:
        """Return the user's id, as `signing.TokenSubject` requires."""
        return self.user_id


def sign_in(*, email: str, password: str, address: str) -> Tokens:
    """Start a session. Raises SignInFailed, TooManyRequests.

    address: the client's IP address. Failed attempts are counted for it as well.
    """
    user = authenticate(email, password, address, "public")
    tokens = start_session(user)
    log_security_event(LOGIN_SUCCESS, account=user.id, entrance="public", email_hash=hash_email(email))
    return tokens


def start_session(user: User) -> Tokens:
    """Start a session of a user whose password was checked. Raises SignInFailed if it is another one by now."""
    family_id = uuid7()
    family = {"family_id": family_id, "user_id": user.id, "password": user.password}
    with transaction("users"):
        if not execute("users", _INSERT_FAMILY_SQL, family):
            log_security_event(LOGIN_FAIL, reason="changed_meanwhile", account=user.id, entrance="public")
            raise SignInFailed
        refresh_token = _issue_refresh_token(family_id)
    return Tokens(access=_sign_access_token(user, family_id), refresh=refresh_token)


def authenticate(email: str, password: str, address: str, entrance: Entrance) -> User:
    """Return the user with this e-mail address and password. Raises SignInFailed, TooManyRequests.

    entrance: the one for staff accepts only accounts with permissions, and counts other attempts as failed: it must not
    help to guess the passwords of customers.
    Hash a password for unknown addresses too, so that timing does not reveal accounts.
    """
    throttle = SignInThrottle(account=normalize_email(email), address=address, entrance=entrance)
    _count_attempt(throttle, email, entrance)
    user = find_user(email)
    try:
        is_correct = _check_password(user, password) if user else verify_password(password, "")
    except Overloaded:
        throttle.withdraw()
        raise
    reason = _find_reason(user, is_correct, entrance)
    if user is None or reason:
        throttle.fail()
        account = user.id if user else None
        log_security_event(LOGIN_FAIL, reason=reason, account=account, entrance=entrance, email_hash=hash_email(email))
        raise SignInFailed().with_headers(throttle.limiter.build_headers())
    throttle.forget()
    return user


def _count_attempt(throttle: SignInThrottle, email: str, entrance: Entrance) -> None:
    try:
        throttle.count()
    except TooManyRequests:
        log_security_event(LOGIN_FAIL_MAX, reason="throttled", entrance=entrance, email_hash=hash_email(email))
        raise


def _find_reason(user: User | None, is_correct: bool, entrance: Entrance) -> str:
    """Return why a sign-in is refused, for the security log. Empty: it is not. No response has it."""
    if user is None:
        return "unknown_account"
    if not is_correct:
        return "wrong_password"
    if not user.is_active:
        return "account_disabled"
    return "not_staff" if entrance == "staff" and not user.permissions else ""


def _check_password(user: User, password: str) -> bool:
    """Check a password. A hash of former parameters is replaced, unless a new password was set meanwhile."""

    def replace_hash(hashed: str) -> None:
        if User.objects.filter(id=user.id, password=user.password).update(password=hashed):
            user.password = hashed

    return verify_password(password, user.password, replace_hash)


def refresh(token: str) -> Tokens:
    """Exchange a refresh token for the next pair of tokens.

    A repeat within REFRESH_GRACE_SECONDS returns the same refresh token. Raises RefreshRefused if the token is not valid.
    A known token that cannot be rotated (used before, expired, disabled account) revokes its session, as does one of a
    session that began SESSION_DAYS ago.
    """
    digest = _hash_token(token)
    with transaction("users"):
        rotated = _rotate(digest, derive_successors(token))
        revoked = [] if rotated else fetch_rows("users", _REVOKE_FAMILY_SQL, [digest])
    if rotated is None:
        _log_refused_refresh(revoked)
        raise RefreshRefused
    return Tokens(access=_sign_access_token(rotated, rotated.family_id), refresh=rotated.successor)


def _log_refused_refresh(revoked: list[tuple[UUID, UUID, str]]) -> None:
    """Log a refusal. revoked: the session that it has ended, its account, and why."""
    for session_id, user_id, reason in revoked:
        log.warning("token_family_revoked", reason="refresh token reused, session expired, or account disabled")
        event = TOKEN_REUSE if reason == "used_before" else REFRESH_FAIL
        log_security_event(event, reason=reason, account=user_id, session=str(session_id))
    if not revoked:
        log_security_event(REFRESH_FAIL, reason="unknown_token_or_ended_session")


def _rotate(digest: str, successors: list[str]) -> RotatedToken | None:
    """Mark a token as used and store its first successor. A repeat needs one of them that is stored and still unused."""
    grace, longest = timedelta(seconds=settings.REFRESH_GRACE_SECONDS), timedelta(days=settings.SESSION_DAYS)
    rows = fetch_rows("users", ROTATE_TOKEN_SQL, {"digest": digest, "grace": grace, "longest": longest})
    if not rows:
        return None
    rotated = RotatedToken._make([*rows[0], successors[0]])
    if rotated.is_first_use:
        _store_refresh_token(rotated.successor, rotated.family_id)
        return rotated
    by_digest = {_hash_token(successor): successor for successor in successors}
    unused = fetch_rows("users", _FIND_UNUSED_TOKENS_SQL, [list(by_digest)])
    return rotated._replace(successor=by_digest[unused[0][0]]) if unused else None


def derive_successors(token: str) -> list[str]:
    """Derive the refresh token that follows this one, and those under SECRET_KEY_FALLBACKS.

    Without the shop's secret they cannot be guessed.
    """
    data = f"successor of refresh token {token}".encode()
    codes = [hmac.new(secret.encode(), data, sha256).digest() for secret in get_secrets()]
    return [base64.urlsafe_b64encode(code).rstrip(b"=").decode() for code in codes]


def sign_out(token: str) -> None:
    """End the session of this refresh token. An unknown token or an ended session changes nothing."""
    with transaction("users"):
        revoked = fetch_rows("users", _REVOKE_FAMILY_SQL, [_hash_token(token)])
    for session_id, user_id, _ in revoked:
        log_security_event(
            TOKEN_REVOKED, reason="sign_out", account=user_id, entrance="public", session=str(session_id)
        )


def revoke_all_sessions(user_id: UUID) -> None:
    """Revoke all sessions of a user, also those in the admin, inside the caller's transaction."""
    execute("users", "UPDATE users_tokenfamily SET revoked = true WHERE user_id = %s AND NOT revoked", [user_id])
    staff_sessions.revoke_all(user_id)


def get_present_permissions(user_id: UUID, session_id: UUID | None) -> tuple[str, ...]:
    """Implement `Users.present_permissions`."""
    rows = fetch_rows("users", _PRESENT_PERMISSIONS_SQL, {"user_id": user_id, "session_id": session_id})
    return tuple(rows[0][0]) if rows else ()


def sign_in_staff(*, email: str, password: str, address: str) -> StaffSession:
    """Implement `Users.sign_in_staff`."""
    user = authenticate(email, password, address, "staff")
    session = staff_sessions.start(user)
    log_security_event(LOGIN_SUCCESS, account=user.id, entrance="staff", email_hash=hash_email(email))
    return session


def _sign_access_token(user: signing.TokenSubject, family_id: UUID) -> str:
    lifetime = timedelta(seconds=settings.ACCESS_TOKEN_SECONDS)
    return signing.sign_token(user, kind=ACCESS, lifetime=lifetime, session_id=family_id)


def _issue_refresh_token(family_id: UUID) -> str:
    """Create a refresh token of 256 random bits. Only its hash is stored; random tokens need no salt."""
    token = secrets.token_urlsafe(32)
    _store_refresh_token(token, family_id)
    return token


def _store_refresh_token(token: str, family_id: UUID) -> None:
    lifetime = timedelta(days=settings.REFRESH_TOKEN_DAYS)
    execute("users", _INSERT_TOKEN_SQL, {"digest": _hash_token(token), "family_id": family_id, "lifetime": lifetime})


def _hash_token(token: str) -> str:
    return sha256(token.encode()).hexdigest()
