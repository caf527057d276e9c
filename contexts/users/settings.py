"""Settings of users. The keys of tokens are in config/settings/security.py, because every context verifies them."""

from typing import Any

from shop.http.quotas import read_rate_limit
from shop.setting_types import read_names
from shop.settings import env, read_number, read_setting, read_whole_number

COUNTER_SECONDS = 3600  # after which an attempt to sign in is forgotten
MAX_STAFF_SESSION_SECONDS = 12 * 3600  # the lifetime of the cookie, SESSION_COOKIE_AGE
MAX_REFRESH_GRACE_SECONDS = 60  # a thief could use a copied token for this long unnoticed

AUTH_USER_MODEL = "users.User"
# Django's password hashers; the first one hashes new passwords.
PASSWORD_HASHERS = read_setting("PASSWORD_HASHERS", read_names, ["django.contrib.auth.hashers.Argon2PasswordHasher"])
# How many passwords a process hashes at the same time. Each takes 100 MB and 0.1 s of all cores.
PASSWORD_HASHING_THREADS = read_whole_number("PASSWORD_HASHING_THREADS", 2, most=64)
# How many requests to the same path (sign-in, registration) may wait for that. The response to more is 503.
PASSWORD_HASHING_QUEUE = read_whole_number("PASSWORD_HASHING_QUEUE", 30, least=0, most=10_000)
# Requests that hash a password, in the shop and between its processes.
PASSWORD_PATHS = ("/api/v1/auth/register", "/api/v1/auth/token", "/admin/login/", "/admin/password_change/")
PASSWORD_CALLS = ("users.sign_in_staff", "users.change_staff_password")
AUTH_PASSWORD_VALIDATORS: list[dict[str, Any]] = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "contexts.users.service.password_strength.MaximumLengthValidator"},
    {"NAME": "contexts.users.service.password_strength.GuessesValidator"},
]
# Words that an attacker tries first, separated by commas, such as the names of the company and its products. They add nothing
# to a password, as the names in SITE_URL and of the account.
PASSWORD_KNOWN_WORDS: list[str] = read_setting("PASSWORD_KNOWN_WORDS", env.list, [])
# How long an access token is valid.
ACCESS_TOKEN_SECONDS = read_whole_number("ACCESS_TOKEN_SECONDS", 300, most=86_400)
# How long a session lasts without a request.
REFRESH_TOKEN_DAYS = read_number("REFRESH_TOKEN_DAYS", 30, most=3_650)
# How long a session lasts at most, however often its tokens are refreshed. Its customer signs in again after it.
SESSION_DAYS = read_number("SESSION_DAYS", 90, most=3_650)
# How long an expired refresh token is kept, so that its reuse is still detected.
EXPIRED_TOKEN_RETENTION_DAYS = read_number("EXPIRED_TOKEN_RETENTION_DAYS", 1, most=3_650)
# How long a refresh token that was used returns the same successor once more. 0: never.
REFRESH_GRACE_SECONDS = read_number("REFRESH_GRACE_SECONDS", 10, least=0, most=MAX_REFRESH_GRACE_SECONDS)
# How long a session in the admin lasts without a request.
STAFF_SESSION_IDLE_SECONDS = read_whole_number(
    "STAFF_SESSION_IDLE_SECONDS", 3600, least=60, most=MAX_STAFF_SESSION_SECONDS
)
# How long a session in the admin lasts at most. Staff sign in again after it.
STAFF_SESSION_SECONDS = read_whole_number(
    "STAFF_SESSION_SECONDS", MAX_STAFF_SESSION_SECONDS, least=60, most=MAX_STAFF_SESSION_SECONDS
)

# Rate limit of new accounts (docs/rate-limits.md).
RATE_LIMIT_REGISTER = read_rate_limit("RATE_LIMIT_REGISTER", "address:120/minute,email:10/hour")
# Rate limit of the renewal of tokens.
RATE_LIMIT_REFRESH = read_rate_limit("RATE_LIMIT_REFRESH", "address:600/minute")
# Rate limit of failed sign-ins of one address over all accounts, for customers and staff apart.
RATE_LIMIT_SIGN_IN = read_rate_limit("RATE_LIMIT_SIGN_IN", "address:300/5minutes")
# Wrong passwords for one account from one address that cost no time. After them each one doubles the delay.
SIGN_IN_FREE_ATTEMPTS = read_whole_number("SIGN_IN_FREE_ATTEMPTS", 10, most=10_000)
# The longest delay after wrong passwords; below an hour.
SIGN_IN_MAX_DELAY_SECONDS = read_number("SIGN_IN_MAX_DELAY_SECONDS", 300, most=COUNTER_SECONDS - 1)
