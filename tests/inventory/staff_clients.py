"""Staff clients of inventory. Their tokens are signed here, without a call to users."""

import time
from uuid import uuid4

import jwt
from django.conf import settings

from config.admin_site import SESSION_TOKEN_KEY
from shop.http import tokens
from tests.http_client import Client

ACTOR = "staff@example.com"


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


def sign_in_to_admin(*permissions: str) -> Client:
    """Return a client that is signed in to the admin."""
    client = Client()
    session = client.session
    session[SESSION_TOKEN_KEY] = sign_staff_token(*permissions, kind=tokens.STAFF)
    session.save()
    client.cookies[settings.SESSION_COOKIE_NAME] = session.session_key
    return client
