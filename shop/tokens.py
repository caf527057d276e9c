"""Who calls: a JWT, verified with public keys alone, so that any context knows its caller without asking users."""

from functools import lru_cache
from typing import Any
from uuid import UUID

import jwt
import msgspec
from django.conf import settings

from shop.errors import Unauthenticated

ALGORITHM = "ES256"
ACCESS, STAFF = "access", "staff"


class Caller(msgspec.Struct, frozen=True):
    """The signed-in person. Django's admin and DRF see in it what they look for in a user."""

    id: UUID
    name: str = ""
    permissions: frozenset[str] = frozenset()

    is_authenticated = True
    is_active = True
    is_anonymous = False

    @property
    def pk(self) -> UUID:
        return self.id

    @property
    def is_staff(self) -> bool:
        return bool(self.permissions)

    def has_perm(self, permission: str, obj: Any = None) -> bool:
        """Whether the token carries `permission`, or `*`, which stands for all."""
        return permission in self.permissions or "*" in self.permissions

    def has_module_perms(self, context: str) -> bool:
        return any(permission == "*" or permission.startswith(f"{context}.") for permission in self.permissions)

    def has_usable_password(self) -> bool:
        return False

    def get_username(self) -> str:
        return self.name

    get_short_name = get_full_name = __str__ = get_username


@lru_cache(maxsize=8)
def _key(kid: str) -> Any:
    for key in settings.JWKS["keys"]:
        if key["kid"] == kid:
            return jwt.PyJWK(key, algorithm=ALGORITHM).key
    raise Unauthenticated


def verify(token: str, kind: str = ACCESS) -> Caller:
    """The caller whom users signed this token for. Raises Unauthenticated for anything else (RFC 7519, RFC 8725)."""
    claims = _claims(token, kind)
    return Caller(UUID(claims["sub"]), str(claims.get("name", "")), frozenset(claims.get("permissions", ())))


def owner_of_expired(token: str) -> UUID:
    """Whom a staff token was signed for, however long ago: only for a token that a signed session vouches for."""
    return UUID(_claims(token, STAFF, verify_exp=False)["sub"])


def _claims(token: str, kind: str, **options: Any) -> dict[str, Any]:
    try:
        claims = jwt.decode(
            token,
            _key(str(jwt.get_unverified_header(token).get("kid"))),
            algorithms=[ALGORITHM],
            audience=settings.JWT_AUDIENCE,
            issuer=settings.JWT_ISSUER,
            options={"require": ["exp", "iat", "sub", "aud", "iss", "typ"], **options},
        )
        UUID(claims["sub"])
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError) as error:
        raise Unauthenticated from error
    if claims["typ"] != kind:
        raise Unauthenticated
    return claims
