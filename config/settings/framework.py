"""Configure Django, its libraries, and what all contexts share."""

from config.contexts import ALL_CONTEXTS
from shop.logs import build_logging_config
from shop.settings import env, read_setting

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
    "ops",
    "shop",
    *(f"contexts.{context}" for context in ALL_CONTEXTS),
]
MIDDLEWARE = [
    "shop.http.middleware.RequestContextMiddleware",
    "shop.http.proxies.TrustedProxies",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "config.admin_site.StaffMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
APPEND_SLASH = False
# The admin authenticates staff with a signed token (config/admin_site.py), so it needs no auth backend or middleware.
SILENCED_SYSTEM_CHECKS = ["admin.E402", "admin.E408"]
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

CURRENCY = read_setting("CURRENCY", env.str, "EUR")
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False

# Injected faults (shop/chaos/faults.py). Refused unless all databases are test databases.
CHAOS = read_setting("CHAOS", env.str, "")
CHAOS_SEED = read_setting("CHAOS_SEED", env.int, 0)
CHAOS_RECORD = read_setting("CHAOS_RECORD", env.str, "")

STATIC_URL = "/static/"
STATIC_ROOT = read_setting("STATIC_ROOT", env.str, None)  # set in an image; else each app serves its own files
WHITENOISE_USE_FINDERS = STATIC_ROOT is None
LOGGING = build_logging_config(
    read_setting("LOG_LEVEL", env.str, "INFO", allowed=("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")),
    read_setting("LOG_FORMAT", env.str, "json", allowed=("json", "text")) == "json",
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
    # drf-spectacular's enum hook needs serializer fields; our types already name their enums.
    "POSTPROCESSING_HOOKS": [],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"persistAuthorization": True, "displayRequestDuration": True},
}
