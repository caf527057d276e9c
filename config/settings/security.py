"""Secrets, addresses and browser security."""

import base64
import hashlib
import hmac
import json
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from django.core.exceptions import ImproperlyConfigured
from jwt.algorithms import ECAlgorithm

from shop.settings import env, read_setting

BASE_DIR = Path(__file__).resolve().parent.parent.parent
MIN_SECRET_CHARACTERS = 32


def read_site_url(name: str, default: str) -> str:
    """Return the public address of the site, without a slash at the end."""
    value = str(env.str(name, default=default)).rstrip("/")
    if urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).hostname:
        raise ValueError(f"{value!r} must be an http:// or https:// URL")
    return value


def read_networks(name: str, default: list[str]) -> tuple[IPv4Network | IPv6Network, ...]:
    """Parse comma-separated addresses and networks (10.0.0.0/8). A network of all addresses is refused."""
    networks = tuple(ip_network(address) for address in env.list(name, default=default))
    if any(network.prefixlen == 0 for network in networks):
        raise ValueError("a network of all addresses cannot be trusted")
    return networks


def read_redis_url(name: str, default: str) -> str:
    """Return the URL of Redis or Valkey."""
    value = str(env.str(name, default=default))
    if value and urlsplit(value).scheme not in ("redis", "rediss"):
        raise ValueError("must be a redis:// or rediss:// URL")
    return value


def derive_secret(purpose: str) -> str:
    """Derive a secret from SECRET_KEY for one purpose."""
    return hmac.new(SECRET_KEY.encode(), purpose.encode(), hashlib.sha256).hexdigest()


def build_jwk(pem: bytes) -> dict[str, Any]:
    """Return the public key of a signing key as a JWK (RFC 7517, thumbprint RFC 7638)."""
    try:
        public = json.loads(ECAlgorithm.to_jwk(load_pem_private_key(pem, None).public_key()))  # type: ignore[arg-type]  # other kinds of keys raise
    except (ValueError, TypeError, AttributeError) as error:
        raise ImproperlyConfigured(f"JWT_SIGNING_KEY is not an EC P-256 private key in PEM: {error}") from None
    required = json.dumps({name: public[name] for name in ("crv", "kty", "x", "y")}, separators=(",", ":"))
    thumbprint = base64.urlsafe_b64encode(hashlib.sha256(required.encode()).digest()).rstrip(b"=").decode()
    return {**public, "kid": thumbprint, "use": "sig", "alg": "ES256"}


DEBUG = False
SECRET_KEY: str = read_setting("SECRET_KEY", env.str)
if len(SECRET_KEY) < MIN_SECRET_CHARACTERS:
    raise ImproperlyConfigured(f"SECRET_KEY is shorter than {MIN_SECRET_CHARACTERS} characters")

SITE_URL: str = read_setting("SITE_URL", read_site_url, "http://127.0.0.1:8000")  # for links; never taken from Host
SITE_HOST = str(urlsplit(SITE_URL).hostname)
# The default is the host of the site, and the names that health checks inside a container use.
DEFAULT_HOSTS = [f"[{SITE_HOST}]" if ":" in SITE_HOST else SITE_HOST, "localhost", "127.0.0.1", "[::1]"]
ALLOWED_HOSTS = read_setting("ALLOWED_HOSTS", env.list, DEFAULT_HOSTS)
# X-Forwarded-For and X-Forwarded-Proto are accepted from these addresses only (shop/http/proxies.py).
TRUSTED_PROXIES = read_setting("TRUSTED_PROXIES", read_networks, [])

RATE_LIMITS = read_setting("RATE_LIMITS", env.bool, True)  # False switches off every RATE_LIMIT_ setting
RATE_LIMIT_STORE = read_setting("RATE_LIMIT_STORE", env.str, "database", allowed=("database", "redis"))
REDIS_URL = read_setting("REDIS_URL", read_redis_url, "")  # of Redis or Valkey, for RATE_LIMIT_STORE=redis
if RATE_LIMIT_STORE == "redis" and not REDIS_URL:
    raise ImproperlyConfigured("RATE_LIMIT_STORE is redis: set REDIS_URL to the address of Redis or Valkey (redis://…)")

# Tokens. The users context signs them with the private key; every context verifies them with the public keys.
JWT_ISSUER = read_setting("JWT_ISSUER", env.str, "satsuma")
JWT_AUDIENCE = read_setting("JWT_AUDIENCE", env.str, "satsuma")
JWT_SIGNING_KEY: str = read_setting("JWT_SIGNING_KEY", env.str, "").replace("\\n", "\n")
if not JWT_SIGNING_KEY:
    raise ImproperlyConfigured("JWT_SIGNING_KEY is not set; `make up` sets it for you, .env.example explains it")
# Public keys of earlier signing keys, accepted until the tokens that they signed have expired. Keys rotate this way.
JWT_RETIRED_KEYS = [json.loads(key) for key in read_setting("JWT_RETIRED_KEYS", env.list, [])]
JWKS = {"keys": [build_jwk(JWT_SIGNING_KEY.encode()), *JWT_RETIRED_KEYS]}

SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 12 * 3600
LOGIN_URL = "/admin/login/"

# Cookies, redirects and HSTS are strict behind TLS. Without TLS (development) they are relaxed.
HTTPS = SITE_URL.startswith("https://")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = HTTPS
SECURE_HSTS_SECONDS = 31536000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_REDIRECT_EXEMPT = [r"^health$", r"^ready$"]
CSRF_TRUSTED_ORIGINS = [SITE_URL]
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = 1_000_000
DATA_UPLOAD_MAX_NUMBER_FIELDS = 2_000
