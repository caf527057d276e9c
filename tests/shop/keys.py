"""Tokens as users signs them, and as somebody would who should not."""

import time
from typing import Any

import jwt
from django.conf import settings

from shop import tokens
from shop.ids import uuid7


def claims(**changes: Any) -> dict[str, Any]:
    """Good claims, changed; None takes one away."""
    now = int(time.time())
    good = {
        "sub": str(uuid7()), "aud": settings.JWT_AUDIENCE, "iss": settings.JWT_ISSUER, "iat": now, "exp": now + 60,
        "typ": tokens.ACCESS, "name": "ada@example.com",
    }  # fmt: skip
    return {name: value for name, value in (good | changes).items() if value is not None}


def kid() -> str:
    return settings.JWKS["keys"][0]["kid"]


def token(header: dict[str, Any] | None = None, **changes: Any) -> str:
    return jwt.encode(claims(**changes), settings.JWT_SIGNING_KEY, "ES256", headers={"kid": kid()} | (header or {}))
