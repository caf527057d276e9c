"""All configuration, read in one place from the environment and validated at start."""

import base64
import hashlib
import hmac
import json
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from django.core.exceptions import ImproperlyConfigured
from environ.fileaware_mapping import FileAwareMapping
from jwt.algorithms import ECAlgorithm

from config.logs import configuration

BASE_DIR = Path(__file__).resolve().parent.parent
ALL_CONTEXTS = ("orders", "inventory", "payments", "users", "notifications")


class Environment(FileAwareMapping):
    """The environment; <NAME>_FILE names a file with a value, as Docker and Kubernetes hand over secrets."""

    def __contains__(self, name: object) -> bool:
        return name in self.env or f"{name}_FILE" in self.env

    def __getitem__(self, name: str) -> str:
        try:
            return super().__getitem__(name).rstrip("\n")  # an editor's last line break is none of it
        except (OSError, UnicodeError) as error:
            raise ValueError(f"{name}_FILE: {error}") from None


environ.Env.ENVIRON = Environment()
env = environ.Env()


def setting(name: str, read: Any, default: Any = environ.Env.NOTSET, allowed: tuple = ()) -> Any:
    """One value of the environment. A missing or a wrong one stops the start, with a sentence that names it."""
    try:
        value = read(name, default=default)
    except ImproperlyConfigured:
        raise ImproperlyConfigured(f"{name} is not set; `make up` sets it for you, .env.example explains it") from None
    except (ValueError, TypeError) as error:
        raise ImproperlyConfigured(f"{name} cannot be read: {error}") from None
    if allowed and value not in allowed:
        raise ImproperlyConfigured(f"{name} is {value!r}; it can be {', '.join(map(str, allowed))}")
    return value


def positive(name: str, default: Any, read: Any = env.float) -> Any:
    """A number above zero."""
    value = setting(name, read, default)
    if not 0 < value < 10**9:
        raise ImproperlyConfigured(f"{name} is {value}; it has to be above 0")
    return value


def site(name: str, default: Any) -> str:
    """The address that people see, without a path's slash."""
    value = env.str(name, default=default).rstrip("/")
    if urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).hostname:
        raise ValueError(f"{value!r} is no http:// or https:// address")
    return value


def networks(name: str, default: Any) -> tuple[IPv4Network | IPv6Network, ...]:
    """Comma-separated addresses and networks (10.0.0.0/8), but not everybody."""
    found = tuple(ip_network(given) for given in env.list(name, default=default))
    if any(network.prefixlen == 0 for network in found):
        raise ValueError("a network of everybody can trust nobody")
    return found


def broker(name: str, default: Any) -> str:
    """Where Redis, Valkey or RabbitMQ listens."""
    value = env.str(name, default=default)
    if value and urlsplit(value).scheme not in ("redis", "rediss", "amqp", "amqps"):
        raise ValueError("it is no redis://, rediss://, amqp:// or amqps:// address")
    return value


DEBUG = False
SECRET_KEY = setting("SECRET_KEY", env.str)
if len(SECRET_KEY) < 32:
    raise ImproperlyConfigured("SECRET_KEY is shorter than 32 characters")
SITE_URL = setting("SITE_URL", site, "http://127.0.0.1:8000")  # in mails; never taken from Host
SITE_HOST = str(urlsplit(SITE_URL).hostname)
ALLOWED_HOSTS = setting(  # without a setting: the site's, and what health checks inside a container call themselves
    "ALLOWED_HOSTS", env.list,
    [f"[{SITE_HOST}]" if ":" in SITE_HOST else SITE_HOST, "localhost", "127.0.0.1", "[::1]"],
)  # fmt: skip
TRUSTED_PROXIES = setting("TRUSTED_PROXIES", networks, [])  # whose X-Forwarded-For and -Proto are believed

# Contexts, and where each one's service is: a dotted path here, a URL where another process hosts it.
CONTEXTS = tuple(setting("CONTEXTS", env.list, list(ALL_CONTEXTS)))
if not CONTEXTS:
    raise ImproperlyConfigured(f"CONTEXTS is empty; there are {', '.join(ALL_CONTEXTS)}")
if unknown := set(CONTEXTS) - set(ALL_CONTEXTS):
    raise ImproperlyConfigured(f"CONTEXTS names {', '.join(sorted(unknown))}; there are {', '.join(ALL_CONTEXTS)}")
TRANSPORT = setting("TRANSPORT", env.str, "local", allowed=("local", "loopback"))


def binding(context: str) -> str:
    """Where a context's service is. An address says nothing to the process that hosts it, so all may have the same settings."""
    local = f"contexts.{context}.service.Local{context.capitalize()}"
    found = setting(f"{context.upper()}_URL", env.str, local).rstrip("/")
    return local if context in CONTEXTS and "://" in found else found


def call_keys(context: str) -> list[str]:
    """What calls from a context to another process are signed with. The first signs, all are accepted: so they rotate."""
    derived = hmac.new(SECRET_KEY.encode(), f"calls by {context}".encode(), hashlib.sha256).hexdigest()
    keys = setting(f"{context.upper()}_CALL_KEYS", env.list, [derived])
    if not keys or min(map(len, keys)) < 32:
        raise ImproperlyConfigured(f"{context.upper()}_CALL_KEYS has a key shorter than 32 characters")
    return keys


SERVICES = {context: binding(context) for context in ALL_CONTEXTS}
CALL_KEYS = {context: call_keys(context) for context in ALL_CONTEXTS}
SUBSCRIPTIONS = json.loads((BASE_DIR / "config" / "subscriptions.json").read_text())
ENGINE = setting("ENGINE", env.str, "embedded", allowed=("embedded", "celery", "none"))
BROKER_URL = setting("BROKER_URL", broker, "")
POLL_SECONDS = positive("POLL_SECONDS", 1)  # after which a worker looks for what no message told it
WATCHDOG_SECONDS = positive("WATCHDOG_SECONDS", 20)  # without any message, after which a worker starts anew

INSTALLED_APPS = [
    "config.apps.AdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "config.apps.SatsumaConfig",
    "shop",
    *(f"contexts.{context}" for context in ALL_CONTEXTS),
]
MIDDLEWARE = [
    "shop.middleware.Story",
    "config.proxies.TrustedProxies",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "config.admin.StaffMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
APPEND_SLASH = False
# The admin knows its staff from a signed token (config/admin.py), not from a table: no auth backend, no user middleware.
SILENCED_SYSTEM_CHECKS = ["admin.E402", "admin.E408"]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "config.admin.staff_in_templates",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# A database for each context, each with a role of its own that has no rights elsewhere.
DATABASE_PREFIX = setting("DATABASE_PREFIX", env.str, "satsuma")
POOL_SIZE = positive("DATABASE_POOL_SIZE", 16, env.int)


# How long one of our sessions may keep the others waiting: a process that was stopped or cut off in the middle of a
# transaction loses it, and who waits for its locks is told of an outage and tries again.
PATIENCE = {"lock_timeout": "5s", "statement_timeout": "15s", "idle_in_transaction_session_timeout": "4s"}
# What is prepared is planned once, whatever its parameters: all of it goes by a key or by what is due. So it goes by an
# index, even if the plan is made while a shop is new and its tables are empty: a plan outlives many thousand orders.
# An older server takes a table that it has to read whole for so dear that it would compile the statement.
PLANNING = {"plan_cache_mode": "force_generic_plan", "enable_seqscan": "off", "jit": "off"}


def server(name: str) -> dict[str, Any]:
    """The postgres:// address that a setting gives."""
    return postgres(name, setting(name, env.str))


def postgres(name: str, url: str) -> dict[str, Any]:
    """A postgres:// address; host, user and password may stand in its query too, as libpq has it for sockets."""
    parsed: dict[str, Any] = environ.Env.db_url_config(url)
    if parsed.get("ENGINE") != "django.db.backends.postgresql":
        raise ImproperlyConfigured(f"{name} is not a postgres:// address; PostgreSQL is the only engine")
    options = dict(parsed.get("OPTIONS", {}))
    return parsed | {part.upper(): options.pop(part) for part in ("host", "port", "user", "password") if part in options} | {
        "OPTIONS": options
    }  # fmt: skip


def database(context: str) -> dict[str, Any]:
    """The alias of one context: `<CONTEXT>_DATABASE_URL`, or the context's database and role on DATABASE_URL's server."""
    own = f"{context.upper()}_DATABASE_URL"
    parsed = server(own) if own in env.ENVIRON else {**DATABASE_SERVER, **role(context)}
    session = (f"-c {name}={value}" for name, value in (PATIENCE | PLANNING).items())
    options = " ".join([parsed["OPTIONS"].get("options", ""), *session])
    pool = {"min_size": 0, "max_size": POOL_SIZE, "timeout": 5, "num_workers": 1, "max_idle": 60}
    return parsed | {
        "ENGINE": "shop.postgres",
        "CONN_MAX_AGE": 0,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {
            **parsed["OPTIONS"],
            "options": options,
            "connect_timeout": 3,
            "tcp_user_timeout": 5000,  # milliseconds, until a server that went away without a word counts as gone
            "application_name": f"satsuma {context}",
            "pool": pool,
        },
        "TEST": {"DEPENDENCIES": []},
    }


def role(context: str) -> dict[str, str]:
    """A role of its own, and its database: the password follows from SECRET_KEY, so there is nothing to configure."""
    password = hmac.new(SECRET_KEY.encode(), f"role {context}".encode(), hashlib.sha256).hexdigest()
    name = f"{DATABASE_PREFIX}_{context}"
    return {"NAME": name, "USER": name, "PASSWORD": password}


DATABASE_SERVER = server("DATABASE_URL")
DIRECTORY = {**DATABASE_SERVER, **role("directory")}  # where databases are that have moved; it stays where it is
DATABASES: dict[str, Any] = {"default": {}} | {context: database(context) for context in CONTEXTS}
DATABASE_ROUTERS = ["shop.database.Router"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Who signs in. Users signs with the private key; everybody verifies with the public ones.
AUTH_USER_MODEL = "users.User"
PASSWORD_HASHERS = setting(
    "PASSWORD_HASHERS", env.list, ["django.contrib.auth.hashers.Argon2PasswordHasher"]
)
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("MinimumLengthValidator", "CommonPasswordValidator", "UserAttributeSimilarityValidator")
]
AUTH_PASSWORD_VALIDATORS[0]["OPTIONS"] = {"min_length": 10}  # type: ignore[assignment]
JWT_ISSUER = setting("JWT_ISSUER", env.str, "satsuma")
JWT_AUDIENCE = setting("JWT_AUDIENCE", env.str, "satsuma")
ACCESS_TOKEN_SECONDS = positive("ACCESS_TOKEN_SECONDS", 300, env.int)
REFRESH_TOKEN_DAYS = positive("REFRESH_TOKEN_DAYS", 30)


def jwk(pem: bytes) -> dict[str, Any]:
    """The public half of a signing key, as it stands in the JWKS (RFC 7517, thumbprint RFC 7638)."""
    try:
        public = json.loads(ECAlgorithm.to_jwk(load_pem_private_key(pem, None).public_key()))  # type: ignore[arg-type]
    except (ValueError, TypeError, AttributeError) as error:
        raise ImproperlyConfigured(f"JWT_SIGNING_KEY is not an EC P-256 private key in PEM: {error}") from None
    required = json.dumps({name: public[name] for name in ("crv", "kty", "x", "y")}, separators=(",", ":"))
    thumbprint = base64.urlsafe_b64encode(hashlib.sha256(required.encode()).digest()).rstrip(b"=").decode()
    return public | {"kid": thumbprint, "use": "sig", "alg": "ES256"}


JWT_SIGNING_KEY = setting("JWT_SIGNING_KEY", env.str, "").replace("\\n", "\n")
if not JWT_SIGNING_KEY:
    raise ImproperlyConfigured("JWT_SIGNING_KEY is not set; `make up` sets it for you, .env.example explains it")
# A second key, still published and accepted while tokens signed with it live: how keys are rotated.
JWT_RETIRED_KEYS = [json.loads(key) for key in setting("JWT_RETIRED_KEYS", env.list, [])]
JWKS = {"keys": [jwk(JWT_SIGNING_KEY.encode()), *JWT_RETIRED_KEYS]}
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 12 * 3600
LOGIN_URL = "/admin/login/"

# Behind TLS everything that must be secure is; on a laptop nothing has a certificate.
HTTPS = SITE_URL.startswith("https://")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = HTTPS
SECURE_HSTS_SECONDS = 31536000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None  # config/proxies.py: a trusted one's
SECURE_REDIRECT_EXEMPT = [r"^health$", r"^ready$"]
CSRF_TRUSTED_ORIGINS = [SITE_URL]
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = 1_000_000
DATA_UPLOAD_MAX_NUMBER_FIELDS = 2_000

# The shop itself.
CURRENCY = setting("CURRENCY", env.str, "EUR")
RESERVATION_HOLD_SECONDS = positive("RESERVATION_HOLD_SECONDS", 900)
ON_HOLD_SECONDS = positive("ON_HOLD_SECONDS", 72 * 3600)
PAYMENT_PROVIDERS = tuple(setting("PAYMENT_PROVIDERS", env.list, ["sandbox"]))
RECONCILE_SECONDS = positive("RECONCILE_SECONDS", 2)  # until an unknown payment is looked at first; then backing off
PROVIDER_TIMEOUT_SECONDS = positive("PROVIDER_TIMEOUT_SECONDS", 5)
EMAIL_BACKEND = setting("EMAIL_BACKEND", env.str, "django.core.mail.backends.smtp.EmailBackend")
EMAIL_FILE_PATH = setting("EMAIL_FILE_PATH", env.str, None)
EMAIL_HOST = setting("EMAIL_HOST", env.str, "127.0.0.1")
EMAIL_PORT = setting("EMAIL_PORT", env.int, 1025)
EMAIL_HOST_USER = setting("EMAIL_HOST_USER", env.str, "")
EMAIL_HOST_PASSWORD = setting("EMAIL_HOST_PASSWORD", env.str, "")
EMAIL_USE_TLS = setting("EMAIL_USE_TLS", env.bool, False)
EMAIL_TIMEOUT = positive("EMAIL_TIMEOUT_SECONDS", 10)
DEFAULT_FROM_EMAIL = setting("DEFAULT_FROM_EMAIL", env.str, "Satsuma <shop@satsuma.example>")

# Faults to prove that nothing is lost (config/faults.py): refused unless all databases are tests'.
CHAOS = setting("CHAOS", env.str, "")
CHAOS_SEED = setting("CHAOS_SEED", env.int, 0)
CHAOS_RECORD = setting("CHAOS_RECORD", env.str, "")

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False
STATIC_URL = "/static/"
STATIC_ROOT = setting("STATIC_ROOT", env.str, None)  # for an image; else the files are served from where they are
WHITENOISE_USE_FINDERS = STATIC_ROOT is None
LOGGING = configuration(
    setting("LOG_LEVEL", env.str, "INFO", allowed=("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")),
    setting("LOG_FORMAT", env.str, "json", allowed=("json", "text")) == "json",
)

REST_FRAMEWORK = {
    "DEFAULT_SCHEMA_CLASS": "shop.openapi.Schema",
    "EXCEPTION_HANDLER": "shop.problems.handle",
    "UNAUTHENTICATED_USER": "shop.rest.Nobody",
    "UNAUTHENTICATED_TOKEN": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Satsuma",
    "DESCRIPTION": "A shop back end in segments that peel.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PUBLIC": True,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": [],
    "POSTPROCESSING_HOOKS": [],  # the one for enums expects serializer fields; our types name their own
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"persistAuthorization": True, "displayRequestDuration": True},
}
