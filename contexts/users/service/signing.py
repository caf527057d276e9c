"""Signing of tokens (RFC 7519). Every context verifies them with the public key, in `shop.http.tokens`."""

from datetime import timedelta
from functools import lru_cache
from typing import Protocol, cast
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from django.conf import settings

from shop import clock
from shop.http.tokens import ALGORITHM
from shop.ids import uuid7


class TokenSubject(Protocol):
    """The user that a token is signed for."""

    @property
    def id(self) -> UUID: ...
    @property
    def email(self) -> str: ...
    @property
    def full_name(self) -> str: ...
    @property
    def permissions(self) -> list[str]: ...


def sign_token(user: TokenSubject, *, kind: str, lifetime: timedelta, session_id: UUID) -> str:
    """Sign a token with the user's identity and permissions, and the session that it was issued for.

    The token itself cannot be revoked before it expires. Those who have to know whether its session has ended ask users.
    """
    issued = clock.now()
    claims = {
        "iss": settings.JWT_ISSUER,
        "aud": settings.JWT_AUDIENCE,
        "sub": str(user.id),
        "sid": str(session_id),
        "iat": issued,
        "exp": issued + lifetime,
        "typ": kind,
        "jti": str(uuid7()),
        "name": _get_display_name(user),
        "permissions": user.permissions,
    }
    kid = settings.JWKS["keys"][0]["kid"]
    return jwt.encode(claims, _load_private_key(settings.JWT_SIGNING_KEY), ALGORITHM, headers={"kid": kid})


def _get_display_name(user: TokenSubject) -> str:
    """Return the name to show for a user.

    Use the e-mail address for staff, because a self-chosen name could impersonate others in the audit trail.
    """
    return user.email if user.permissions else user.full_name


@lru_cache(maxsize=2)
def _load_private_key(pem: str) -> EllipticCurvePrivateKey:
    return cast(EllipticCurvePrivateKey, load_pem_private_key(pem.encode(), None))
