"""Access tokens: users signs them with the private key, and every context verifies them with the public keys."""

from typing import Any

from django.core.exceptions import ImproperlyConfigured

from config.settings.contexts import CONTEXTS
from shop.setting_types import read_text
from shop.settings import read_setting
from shop.token_keys import build_jwk, list_distinct, read_private_key, read_public_keys

JWT_ISSUER = read_setting("JWT_ISSUER", read_text, "satsuma", description="The `iss` claim of access tokens.")
JWT_AUDIENCE = read_setting("JWT_AUDIENCE", read_text, "satsuma", description="The `aud` claim of access tokens.")
JWT_SIGNING_KEY: str = read_setting(
    "JWT_SIGNING_KEY",
    read_private_key,
    "",
    description="EC P-256 private key in PEM; line breaks may be written \\n. Required where users is hosted, which signs "
    "with it. Give it to no other process.",
)
if not JWT_SIGNING_KEY and "users" in CONTEXTS:
    raise ImproperlyConfigured("JWT_SIGNING_KEY is not set; `make up` sets it for you, .env.example explains it")
# Public keys of users' process, for a process that does not host users: as JWT_RETIRED_KEYS, mostly a file that
# `python -m ops.launch.keys` has written.
JWT_PUBLIC_KEYS: list[dict[str, Any]] = read_setting("JWT_PUBLIC_KEYS", read_public_keys, [])
if not JWT_SIGNING_KEY and not JWT_PUBLIC_KEYS:
    raise ImproperlyConfigured(
        "JWT_PUBLIC_KEYS is not set: give this process, which does not host users, the public key of JWT_SIGNING_KEY"
    )
# Public keys of former signing keys, and of the next one, whose tokens are accepted: a JSON array of JWKs, the document that
# /.well-known/jwks.json answers, or PEM.
JWT_RETIRED_KEYS: list[dict[str, Any]] = read_setting("JWT_RETIRED_KEYS", read_public_keys, [])
try:
    signing_keys = [build_jwk(JWT_SIGNING_KEY)] if JWT_SIGNING_KEY else []
except ValueError as error:
    raise ImproperlyConfigured(f"JWT_SIGNING_KEY {error}") from None
JWKS = {"keys": list_distinct([*signing_keys, *JWT_PUBLIC_KEYS, *JWT_RETIRED_KEYS])}
HAS_NEEDLESS_SIGNING_KEY = bool(JWT_SIGNING_KEY) and "users" not in CONTEXTS  # config/checks.py warns of it
if HAS_NEEDLESS_SIGNING_KEY:
    JWT_SIGNING_KEY = ""
