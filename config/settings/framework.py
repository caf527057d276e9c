"""Configure Django, its libraries, and what all contexts share."""

from config.contexts import ALL_CONTEXTS
from config.settings.security import BASE_DIR
from shop.logs import build_logging_config
from shop.setting_types import read_currency
from shop.settings import env, read_number, read_setting, read_whole_number

INSTALLED_APPS = [
    "shop",  # before the admin, whose base_site.html it extends
    "config.apps.AdminConfig",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "corsheaders",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "config.apps.SatsumaConfig",
    "ops",
    *(f"contexts.{context}" for context in ALL_CONTEXTS),
    "django.contrib.auth",  # after the contexts: users has its own createsuperuser and changepassword
]
MIDDLEWARE = [
    "shop.http.proxies.TrustedProxies",  # first: the logs have the client's address
    "shop.http.middleware.RequestContextMiddleware",
    "shop.http.security_headers.SecurityHeadersMiddleware",
    "corsheaders.middleware.CorsMiddleware",  # outside of all that answers errors, so that a browser can read them
    "shop.http.https.RequireHttps",
    "shop.http.middleware.IncompleteBodyMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.middleware.common.CommonMiddleware",
    "shop.http.page_middleware.SkipPageMiddleware",  # requests to the API pass by the next three
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "config.admin_site.StaffMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
APPEND_SLASH = False
# The admin authenticates staff with a signed token (config/admin_site.py), so it needs no auth backend or middleware.
SILENCED_SYSTEM_CHECKS = ["admin.E402", "admin.E408", "security.W005", "security.W021"]  # HSTS: settings/security.py
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "config.admin_site.add_staff_to_context",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
CURRENCY: str = read_setting(
    "CURRENCY",
    read_currency,
    "EUR",
    description="ISO 4217 code of the currency of the catalogue, of new carts and of new orders. Prices in another currency "
    "stop the start until `manage.py currency` has converted or removed them.",
)
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False

# For tests only, refused unless the names of all databases begin with test_: faults, as in
# orders.commit.after:3:kill (shop/chaos/faults.py).
CHAOS = read_setting("CHAOS", env.str, "")
# For tests only: the seed of faults that happen with a probability.
CHAOS_SEED = read_whole_number("CHAOS_SEED", 0, least=0, most=2**63 - 1)
# For tests only: a file to which each fault point that is reached is appended.
CHAOS_RECORD = read_setting("CHAOS_RECORD", env.str, "")

# How long a bulk action of the admin runs within its request. The engine does the rest of it.
ADMIN_BULK_SECONDS = read_number("ADMIN_BULK_SECONDS", 2, most=300)

STATIC_URL = "/static/"
# Folder of collected static files. The image sets it; without it, each app serves its own files.
STATIC_ROOT = read_setting("STATIC_ROOT", env.str, None)
WHITENOISE_USE_FINDERS = STATIC_ROOT is None
WHITENOISE_ROOT = BASE_DIR / "shop" / "site_root"  # files that are served at the root, such as /favicon.ico
LOGGING = build_logging_config(
    read_setting(
        "LOG_LEVEL",
        env.str,
        "INFO",
        allowed=("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"),
        description="Log entries below this level are dropped.",
    ),
    read_setting(
        "LOG_FORMAT",
        env.str,
        "json",
        allowed=("json", "text"),
        description="json: one JSON object a line; text: for people.",
    )
    == "json",
)

REST_FRAMEWORK = {
    "DEFAULT_SCHEMA_CLASS": "shop.http.openapi.Schema",
    "EXCEPTION_HANDLER": "shop.http.problems.handle_exception",
    "UNAUTHENTICATED_USER": "shop.http.rest.AnonymousCaller",
    "UNAUTHENTICATED_TOKEN": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Satsuma",
    "DESCRIPTION": "REST API of the Satsuma e-commerce back end.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PUBLIC": True,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": [],
    "LICENSE": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    "COMPONENT_SPLIT_PATCH": False,  # a struct of changes has its optional members itself
    # Without drf-spectacular's enum hook, which needs serializer fields; our types already name their enums.
    "POSTPROCESSING_HOOKS": ["shop.http.openapi_document.complete_document"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "/favicon.ico",
    "SWAGGER_UI_SETTINGS": {"persistAuthorization": False, "displayRequestDuration": True},
}
