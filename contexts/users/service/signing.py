"""Signed tokens (RFC 7519): what every context verifies with the public key alone, in `shop.tokens`."""

from datetime import timedelta
from functools import lru_cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from django.conf import settings

from contexts.users.models import User
from shop import clock
from shop.ids import uuid7
from shop.tokens import ALGORITHM

NAME_LENGTH = 64  # what an audit entry keeps of its actor


def sign(user: User, *, kind: str, lasts: timedelta) -> str:
    """A token that says who somebody is and what they may do, until it has run out. It cannot be taken back."""
    issued = clock.now()
    claims = {
        "iss": settings.JWT_ISSUER,
        "aud": settings.JWT_AUDIENCE,
        "sub": str(user.id),
        "iat": issued,
        "exp": issued + lasts,
        "typ": kind,
        "jti": str(uuid7()),
        "name": _name(user)[:NAME_LENGTH],
        "permissions": user.permissions,
    }
    kid = settings.JWKS["keys"][0]["kid"]
    return jwt.encode(claims, _private_key(settings.JWT_SIGNING_KEY), ALGORITHM, headers={"kid": kid})


def _name(user: User) -> str:
    """Staff go by their address: the audit trail names them by it, and a full name is whatever its owner says."""
    return user.email if user.permissions else user.full_name


@lru_cache(maxsize=2)
def _private_key(pem: str) -> Any:
    return load_pem_private_key(pem.encode(), None)
