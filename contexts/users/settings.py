"""Settings of users. The keys of tokens are in config/settings/security.py, because every context verifies them."""

from typing import Any

from shop.settings import env, read_positive_number, read_setting

AUTH_USER_MODEL = "users.User"
PASSWORD_HASHERS = read_setting("PASSWORD_HASHERS", env.list, ["django.contrib.auth.hashers.Argon2PasswordHasher"])
AUTH_PASSWORD_VALIDATORS: list[dict[str, Any]] = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
]
ACCESS_TOKEN_SECONDS = read_positive_number("ACCESS_TOKEN_SECONDS", 300, env.int)
REFRESH_TOKEN_DAYS = read_positive_number("REFRESH_TOKEN_DAYS", 30)
