"""Access tokens as users signs them, with any header and claims."""

import time
from typing import Any

import jwt
from django.conf import settings

from shop.http import tokens
from shop.ids import uuid7


def make_claims(**changes: Any) -> dict[str, Any]:
    """Build valid claims with some of them changed; None removes a claim."""
    now = int(time.time())
    valid = {
        "sub": str(uuid7()),
        "aud": settings.JWT_AUDIENCE,
        "iss": settings.JWT_ISSUER,
        "iat": now,
        "exp": now + 60,
        "typ": tokens.ACCESS,
        "name": "ada@example.com",
    }
    return {name: value for name, value in (valid | changes).items() if value is not None}


def current_key_id() -> str:
    return settings.JWKS["keys"][0]["kid"]


def sign_token(header: dict[str, Any] | None = None, **changes: Any) -> str:
    return jwt.encode(
        make_claims(**changes), settings.JWT_SIGNING_KEY, "ES256", headers={"kid": current_key_id()} | (header or {})
    )
