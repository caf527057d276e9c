"""HTTP clients of customers, with signed tokens."""

import time
from uuid import UUID

import jwt
from django.conf import settings

from tests.http_client import Client


def sign_token(user_id: UUID) -> str:
    """Sign a token as users would."""
    now = int(time.time())
    claims = {
        "sub": str(user_id),
        "typ": "access",
        "iat": now,
        "exp": now + 300,
        "name": "customer",
        "permissions": (),
        "aud": settings.JWT_AUDIENCE,
        "iss": settings.JWT_ISSUER,
    }
    return jwt.encode(claims, settings.JWT_SIGNING_KEY, "ES256", headers={"kid": settings.JWKS["keys"][0]["kid"]})


def customer_client(user_id: UUID) -> Client:
    """Return a client that is signed in as this user."""
    return Client(headers={"Authorization": f"Bearer {sign_token(user_id)}"})
