"""Staff clients of inventory's API. Their tokens are signed here, without a call to users."""

import time
from uuid import uuid4

import jwt
from django.conf import settings

from shop.http import tokens
from tests.staff_accounts import email_of

ACTOR = email_of("inventory.change")


def sign_staff_token(*permissions: str, kind: str = tokens.ACCESS) -> str:
    """Sign a token with these permissions."""
    now = int(time.time())
    claims = {
        "iss": settings.JWT_ISSUER,
        "aud": settings.JWT_AUDIENCE,
        "sub": str(uuid4()),
        "iat": now,
        "exp": now + 300,
        "typ": kind,
        "name": ACTOR,
        "permissions": permissions,
    }
    kid = settings.JWKS["keys"][0]["kid"]
    return jwt.encode(claims, settings.JWT_SIGNING_KEY, algorithm=tokens.ALGORITHM, headers={"kid": kid})


def authorization_header(*permissions: str) -> dict[str, str]:
    """Build the header of a caller with these permissions."""
    return {"Authorization": f"Bearer {sign_staff_token(*permissions)}"}
