"""Access tokens: users signs them with the private key, and every context verifies them with the public keys."""

from typing import Any

from django.core.exceptions import ImproperlyConfigured

from shop.setting_types import read_text
from shop.settings import read_setting
from shop.token_keys import build_jwk, list_distinct, read_private_key, read_public_keys

JWT_ISSUER = read_setting("JWT_ISSUER", read_text, "satsuma", description="The `iss` claim of access tokens.")
JWT_AUDIENCE = read_setting("JWT_AUDIENCE", read_text, "satsuma", description="The `aud` claim of access tokens.")
JWT_SIGNING_KEY: str = read_setting(
    "JWT_SIGNING_KEY",
    read_private_key,
    description="EC P-256 private key in PEM; line breaks may be written \\n. Only users signs with it.",
)
if not JWT_SIGNING_KEY:
    raise ImproperlyConfigured("JWT_SIGNING_KEY is not set; `make up` sets it for you, .env.example explains it")
# Public keys of former signing keys, and of the next one, whose tokens are accepted: a JSON array of JWKs, the document that
# /.well-known/jwks.json answers, or PEM.
JWT_RETIRED_KEYS: list[dict[str, Any]] = read_setting("JWT_RETIRED_KEYS", read_public_keys, [])
try:
    JWKS = {"keys": list_distinct([build_jwk(JWT_SIGNING_KEY), *JWT_RETIRED_KEYS])}
except ValueError as error:
    raise ImproperlyConfigured(f"JWT_SIGNING_KEY {error}") from None
