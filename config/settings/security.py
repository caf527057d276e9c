"""Secrets, addresses and browser security."""

from pathlib import Path
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

from shop.setting_types import (
    build_origin,
    read_allowed_hosts,
    read_contacts,
    read_networks,
    read_origins,
    read_redis_url,
    read_secrets,
    read_site_url,
)  # fmt: skip
from shop.settings import env, read_setting, read_whole_number

BASE_DIR = Path(__file__).resolve().parent.parent.parent
MIN_SECRET_CHARACTERS = 32
LOCALHOST_ORIGIN = r"https?://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?\Z"
YEAR_SECONDS = 365 * 24 * 3600


DEBUG = False
SECRET_KEY: str = read_setting(
    "SECRET_KEY",
    env.str,
    description="32 characters or more. Signs sessions and hashes. All processes have the same one.",
)
if len(SECRET_KEY) < MIN_SECRET_CHARACTERS:
    raise ImproperlyConfigured(f"SECRET_KEY is shorter than {MIN_SECRET_CHARACTERS} characters")
# Former values of SECRET_KEY, or its next one, separated by commas or as a JSON array. What was signed, hashed or derived with
# them is accepted: sessions, idempotency keys and links of guests.
SECRET_KEY_FALLBACKS: list[str] = read_setting("SECRET_KEY_FALLBACKS", read_secrets, [])
if any(len(key) < MIN_SECRET_CHARACTERS for key in SECRET_KEY_FALLBACKS):
    raise ImproperlyConfigured(f"SECRET_KEY_FALLBACKS has a key shorter than {MIN_SECRET_CHARACTERS} characters")

SITE_URL: str = read_setting(  # for links; never taken from Host
    "SITE_URL",
    read_site_url,
    "http://127.0.0.1:8000",
    description="Public address of the site. https:// enables secure cookies and HSTS, and refuses http.",
)
SITE_HOST = str(urlsplit(SITE_URL).hostname)
# Where people report a vulnerability, for /.well-known/security.txt: mailto: and https:// addresses, separated by commas.
SECURITY_CONTACT = read_setting(
    "SECURITY_CONTACT", read_contacts, [f"mailto:security@{SITE_HOST}"], shown_default="security@ the host of SITE_URL"
)
# The default is the host of the site, and the names that health checks inside a container use.
DEFAULT_HOSTS = [f"[{SITE_HOST}]" if ":" in SITE_HOST else SITE_HOST, "localhost", "127.0.0.1", "[::1]"]
ALLOWED_HOSTS = read_setting(
    "ALLOWED_HOSTS",
    read_allowed_hosts,
    DEFAULT_HOSTS,
    shown_default="the host of SITE_URL, and localhost",
    description="Host names that requests may name.",
)
# Addresses and networks (10.0.0.7,172.18.0.0/16) of the proxies whose X-Forwarded-For and X-Forwarded-Proto are used.
TRUSTED_PROXIES = read_setting("TRUSTED_PROXIES", read_networks, [])

# Functions that are called with each event of the security log (docs/security-log.md), for alerts: dotted paths, separated by
# commas, such as alerts.receivers.notify. They run in the thread of the request, so they have to return at once.
SECURITY_EVENT_RECEIVERS: list[str] = read_setting("SECURITY_EVENT_RECEIVERS", env.list, [])

# false switches off every RATE_LIMIT_ setting.
RATE_LIMITS = read_setting("RATE_LIMITS", env.bool, True)
# Where requests are counted.
RATE_LIMIT_STORE = read_setting("RATE_LIMIT_STORE", env.str, "database", allowed=("database", "redis"))
# Redis or Valkey, for RATE_LIMIT_STORE=redis: redis://… or rediss://…
REDIS_URL = read_setting("REDIS_URL", read_redis_url, "")
if RATE_LIMIT_STORE == "redis" and not REDIS_URL:
    raise ImproperlyConfigured("RATE_LIMIT_STORE is redis: set REDIS_URL to the address of Redis or Valkey (redis://…)")

# Browsers on these origins may call the API (https://shop.example,http://localhost:3000). No wildcards.
CORS_ALLOWED_ORIGINS = read_setting("CORS_ALLOWED_ORIGINS", read_origins, [])
# Also allow every port of localhost, for the development of a storefront. `make up` does.
CORS_ALLOW_LOCALHOST = read_setting("CORS_ALLOW_LOCALHOST", env.bool, False)
CORS_ALLOWED_ORIGIN_REGEXES = [LOCALHOST_ORIGIN] if CORS_ALLOW_LOCALHOST else []
CORS_URLS_REGEX = r"/(api|\.well-known)/"
CORS_ALLOW_CREDENTIALS = False  # clients send bearer tokens, never cookies
CORS_ALLOW_HEADERS = [
    "authorization", "content-type", "idempotency-key", "if-match", "if-none-match", "x-order-token", "accept-language",
    "x-request-id", "traceparent",
]  # fmt: skip
CORS_EXPOSE_HEADERS = ["ETag", "Location", "Retry-After", "X-Request-ID", "RateLimit", "RateLimit-Policy"]

SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 12 * 3600
LOGIN_URL = "/admin/login/"

HTTPS = SITE_URL.startswith("https://")  # cookies and HSTS are strict behind TLS, and relaxed without it (development)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = HTTPS
# Browsers accept a cookie with this prefix only over https and for this host alone, so that no other host can set it.
COOKIE_PREFIX = "__Host-" if HTTPS else ""
SESSION_COOKIE_NAME = f"{COOKIE_PREFIX}sessionid"
CSRF_COOKIE_NAME = f"{COOKIE_PREFIX}csrftoken"
MESSAGE_COOKIE_NAME = f"{COOKIE_PREFIX}messages"
CSRF_FAILURE_VIEW = "shop.http.problems.refuse_form"
MESSAGE_STORAGE = "shop.admin.message_cookie.MessageStorage"
# How long browsers may use only https for this host. 0 sends no Strict-Transport-Security; without https it is never sent.
SECURE_HSTS_SECONDS = read_whole_number("SECURE_HSTS_SECONDS", YEAR_SECONDS, least=0, most=10 * YEAR_SECONDS)
# Also for all its subdomains: each of them has to serve https then, also those that are not the shop's.
SECURE_HSTS_INCLUDE_SUBDOMAINS = read_setting("SECURE_HSTS_INCLUDE_SUBDOMAINS", env.bool, False)
# Ask for the list that browsers are shipped with. Hard to undo; needs the subdomains and a year or more.
SECURE_HSTS_PRELOAD = read_setting("SECURE_HSTS_PRELOAD", env.bool, False)
if SECURE_HSTS_PRELOAD and not (SECURE_HSTS_INCLUDE_SUBDOMAINS and SECURE_HSTS_SECONDS >= YEAR_SECONDS):
    raise ImproperlyConfigured(
        "SECURE_HSTS_PRELOAD needs SECURE_HSTS_INCLUDE_SUBDOMAINS=true and a SECURE_HSTS_SECONDS of a year or more "
        f"({YEAR_SECONDS}): browsers list no other sites"
    )
SECURE_HSTS_SECONDS = SECURE_HSTS_SECONDS if HTTPS else 0
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_REDIRECT_EXEMPT = [r"^health$", r"^ready$"]
CSRF_TRUSTED_ORIGINS = [build_origin(SITE_URL)]
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_NUMBER_FIELDS = 2_000
