"""Sessions: signing in, staying signed in by rotating refresh tokens, signing out.

A refresh token is good for one use (RFC 9700, 4.14.2). Rotation is one conditional UPDATE, so of many who bring the same
token exactly one gets the next; all others prove that the token is in two hands, and the whole family is revoked, the
winner's new token with it. Revocation is one flag of the family that each rotation reads: a token that is inserted while
its family is being revoked is dead on arrival.
"""

import secrets
from datetime import timedelta
from hashlib import sha256
from uuid import UUID

import structlog
from django.conf import settings
from django.contrib.auth.hashers import check_password

from contexts.users.interface import SignInFailed, StaffSession
from contexts.users.models import User
from contexts.users.service import attempts, signing
from contexts.users.service.accounts import canonical
from shop.database import changed, transaction
from shop.errors import Unauthenticated
from shop.ids import uuid7
from shop.services import DTO
from shop.tokens import ACCESS, STAFF

STAFF_TOKEN_LASTS = timedelta(minutes=5)
KEPT = timedelta(days=1)  # an expired refresh token, so that its reuse is still recognised

log = structlog.get_logger(__name__)

_BEGIN = """
INSERT INTO users_tokenfamily (id, user_id, revoked)
SELECT %s, id, false FROM users_user WHERE id = %s AND is_active FOR SHARE"""

ROTATE = """
UPDATE users_refreshtoken AS token SET used_at = now()
FROM users_tokenfamily AS family, users_user AS owner
WHERE token.digest = %s AND token.used_at IS NULL AND token.expires_at > now()
  AND family.id = token.family_id AND NOT family.revoked
  AND owner.id = family.user_id AND owner.is_active
RETURNING owner.*, family.id AS family_id"""

_REVOKE = """
UPDATE users_tokenfamily SET revoked = true
WHERE NOT revoked AND id = (SELECT family_id FROM users_refreshtoken WHERE digest = %s)"""


class RefreshRefused(Unauthenticated):
    """This refresh token is not valid, or not any more: sign in again."""


class Tokens(DTO):
    """What a session is carried on with: an access token for the next minutes, and a refresh token for the next pair."""

    access: str
    refresh: str


def sign_in(*, email: str, password: str, address: str) -> Tokens:
    """Begin a session. Raises SignInFailed, TooManyRequests.

    address: the client's, whose failures count too.
    """
    user = _authenticated(email, password, address)
    family = uuid7()
    with transaction("users"):
        if not changed("users", _BEGIN, [family, user.id]):
            raise SignInFailed
        refresh = _next_token(family)
    return Tokens(access=_access_token(user), refresh=refresh)


def _authenticated(email: str, password: str, address: str = "") -> User:
    """Whose address and password these are. An unknown address costs one hash like a known one."""
    email = canonical(email)
    tried = attempts.subjects(account=email, address=address)
    attempts.count(tried)
    user = User.objects.filter(email=email).first()
    correct = user.check_password(password) if user else check_password(password, "")
    if user is None or not correct or not user.is_active:
        raise SignInFailed
    attempts.give_back(tried)
    return user


def refresh(token: str) -> Tokens:
    """The next pair of tokens. Raises RefreshRefused; a token that was used before ends its session for everybody."""
    digest = _digest(token)
    with transaction("users"):
        user = next(iter(User.objects.raw(ROTATE, [digest])), None)
        if user is not None:
            rotated = _next_token(user.family_id)
        elif changed("users", _REVOKE, [digest]):
            log.warning("family_revoked", why="its refresh token was used again, had run out, or its owner is disabled")
    if user is None:
        raise RefreshRefused
    return Tokens(access=_access_token(user), refresh=rotated)


def logout(token: str) -> None:
    """End the session. What is no refresh token of ours, or of an ended session, changes nothing."""
    with transaction("users"):
        changed("users", _REVOKE, [_digest(token)])


def revoke_all(user_id: UUID) -> None:
    """End every session of a user, inside the transaction that says why."""
    changed("users", "UPDATE users_tokenfamily SET revoked = true WHERE user_id = %s AND NOT revoked", [user_id])


def sign_in_staff(*, email: str, password: str) -> StaffSession:
    """A staff token for somebody with permissions. Raises SignInFailed, TooManyRequests."""
    return _staff_session(_authenticated(email, password))


def renew_staff(user_id: UUID) -> StaffSession:
    """A fresh staff token, with the permissions as they are now. Raises SignInFailed once they are gone."""
    return _staff_session(User.objects.filter(id=user_id, is_active=True).first())


def _staff_session(user: User | None) -> StaffSession:
    if user is None or not user.permissions:
        raise SignInFailed
    token = signing.sign(user, kind=STAFF, lasts=STAFF_TOKEN_LASTS)
    return StaffSession(token=token, lasts_seconds=int(STAFF_TOKEN_LASTS.total_seconds()))


def forget() -> int:
    """Forget refresh tokens that ran out a while ago, and families without any. Returns how many tokens."""
    with transaction("users"):
        forgotten = changed("users", "DELETE FROM users_refreshtoken WHERE expires_at < now() - %s", [KEPT])
        changed(
            "users",
            """DELETE FROM users_tokenfamily family
               WHERE NOT EXISTS (SELECT 1 FROM users_refreshtoken token WHERE token.family_id = family.id)""",
        )
        return forgotten


def _access_token(user: User) -> str:
    return signing.sign(user, kind=ACCESS, lasts=timedelta(seconds=settings.ACCESS_TOKEN_SECONDS))


def _next_token(family: UUID) -> str:
    """A refresh token with 256 random bits; only its hash is stored, and needs no salt."""
    token = secrets.token_urlsafe(32)
    changed(
        "users",
        "INSERT INTO users_refreshtoken (digest, family_id, expires_at) VALUES (%s, %s, now() + %s)",
        [_digest(token), family, timedelta(days=settings.REFRESH_TOKEN_DAYS)],
    )
    return token


def _digest(token: str) -> str:
    return sha256(token.encode()).hexdigest()
