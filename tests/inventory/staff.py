"""Staff and callers: tokens as users would sign them, without asking users."""

import time
from uuid import uuid4

import jwt
from django.conf import settings

from config.admin import SESSION_TOKEN
from shop import tokens
from tests.browser import Client

ACTOR = "staff@example.com"


def token(*permissions: str, kind: str = tokens.ACCESS) -> str:
    """A signed token with these permissions."""
    now = int(time.time())
    claims = {
        "sub": str(uuid4()), "name": ACTOR, "permissions": permissions, "typ": kind, "iat": now, "exp": now + 300,
        "aud": settings.JWT_AUDIENCE, "iss": settings.JWT_ISSUER,
    }  # fmt: skip
    kid = settings.JWKS["keys"][0]["kid"]
    return jwt.encode(claims, settings.JWT_SIGNING_KEY, algorithm=tokens.ALGORITHM, headers={"kid": kid})


def bearer(*permissions: str) -> dict[str, str]:
    """The header of a caller with these permissions."""
    return {"Authorization": f"Bearer {token(*permissions)}"}


def admin_client(*permissions: str) -> Client:
    """A browser signed in to the admin."""
    client = Client()
    session = client.session
    session[SESSION_TOKEN] = token(*permissions, kind=tokens.STAFF)
    session.save()
    client.cookies[settings.SESSION_COOKIE_NAME] = session.session_key
    return client
