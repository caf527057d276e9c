"""Verify access tokens (JWT) with public keys, so that any context authenticates a caller without calling the users context."""

import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

import jwt
import msgspec
from django.conf import settings

from shop.errors import Unauthenticated
from shop.security_events import EXPIRED

if TYPE_CHECKING:
    from jwt.types import Options

ALGORITHM = "ES256"
ACCESS, STAFF = "access", "staff"
_REASONS: dict[type[Exception], str] = {  # as the security log has them
    jwt.InvalidSignatureError: "wrong_signature",
    jwt.InvalidAlgorithmError: "other_algorithm",
    jwt.InvalidAudienceError: "other_audience",
    jwt.InvalidIssuerError: "other_issuer",
}
MAX_TOKEN_LENGTH = 8_192  # characters; a longer one is refused before it is decoded
CLOCK_LEEWAY_SECONDS = 30  # how far the clock of a signer may be ahead (docs/deploy.md)


class Caller(msgspec.Struct, frozen=True):
    """The authenticated caller. Has the attributes that Django's admin and DRF expect of a user."""

    id: UUID
    name: str = ""
    permissions: frozenset[str] = frozenset()
    session_id: UUID | None = None  # None: the token is of an older release

    is_authenticated = True
    is_active = True
    is_anonymous = False

    @property
    def pk(self) -> UUID:
        return self.id

    @property
    def is_staff(self) -> bool:
        return bool(self.permissions)

    def has_perm(self, permission: str, obj: object = None) -> bool:
        """Check whether the token grants a permission; `*` grants all."""
        return permission in self.permissions or "*" in self.permissions

    def has_module_perms(self, context: str) -> bool:
        return any(permission == "*" or permission.startswith(f"{context}.") for permission in self.permissions)

    def has_usable_password(self) -> bool:
        """Return True, so that the admin links to its page for a new password."""
        return True

    def get_username(self) -> str:
        return self.name

    get_short_name = get_full_name = __str__ = get_username


@lru_cache(maxsize=8)
def _find_public_key(kid: str) -> Any:
    for key in settings.JWKS["keys"]:
        if key["kid"] == kid:
            return jwt.PyJWK(key, algorithm=ALGORITHM).key
    raise Unauthenticated().because("unknown_key")


def verify(token: str, kind: str = ACCESS) -> Caller:
    """Return the caller of a valid token signed by the users context (RFC 7519, RFC 8725).

    Raises Unauthenticated for any other token.
    """
    claims = _verify_claims(token, kind)
    permissions = frozenset(claims.get("permissions", ()))
    return Caller(UUID(claims["sub"]), str(claims.get("name", "")), permissions, _read_session_id(claims))


def read_staff_session(token: str) -> tuple[UUID, UUID]:
    """Return the ids of the user and of the session of a staff token, expired or not: users knows whether the session
    has ended. Use it only for a token from a signed cookie. Raises Unauthenticated.
    """
    claims = _verify_claims(token, STAFF, verify_exp=False)
    session_id = _read_session_id(claims)
    if session_id is None:
        raise Unauthenticated
    return UUID(claims["sub"]), session_id


def _read_session_id(claims: dict[str, Any]) -> UUID | None:
    return UUID(claims["sid"]) if "sid" in claims else None


def _verify_claims(token: str, kind: str, *, verify_exp: bool = True) -> dict[str, Any]:
    required = ["exp", "iat", "sub", "aud", "iss", "typ"]
    options: Options = {"require": required, "verify_exp": verify_exp, "verify_iat": False}
    if len(token) > MAX_TOKEN_LENGTH:
        raise Unauthenticated().because("too_long")
    try:
        claims = jwt.decode(
            token,
            _find_public_key(str(jwt.get_unverified_header(token).get("kid"))),
            algorithms=[ALGORITHM],
            audience=settings.JWT_AUDIENCE,
            issuer=settings.JWT_ISSUER,
            options=options,
        )
        UUID(claims["sub"])
        _read_session_id(claims)
        is_from_future = claims["iat"] > time.time() + CLOCK_LEEWAY_SECONDS
    except jwt.ExpiredSignatureError as error:
        raise Unauthenticated().because(EXPIRED) from error
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError) as error:
        raise Unauthenticated().because(_REASONS.get(type(error), "malformed")) from error
    if claims["typ"] != kind or is_from_future:
        raise Unauthenticated().because("from_the_future" if is_from_future else "other_kind")
    return claims
