"""The settings of the control: those of `startproject` without accounts, and the connection pool of Satsuma."""

import environ

env = environ.Env()
pool = {"min_size": 0, "max_size": env.int("DATABASE_POOL_SIZE", 16), "timeout": 5, "num_workers": 1, "max_idle": 60}
server = env.db_url("DATABASE_URL")
options = server.get("OPTIONS", {})

SECRET_KEY = env.str("SECRET_KEY")
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = ["rest_framework", "bench.control.apps.ControlConfig"]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "bench.control.urls"
WSGI_APPLICATION = "bench.control.wsgi.application"
APPEND_SLASH = False
DATABASES = {
    "default": server
    | {
        "HOST": options.get("host", server.get("HOST", "")),
        "CONN_MAX_AGE": 0,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {"pool": pool, "application_name": "control"},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
USE_I18N = False
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "UNAUTHENTICATED_USER": None,
    "PAGE_SIZE": 20,
}
