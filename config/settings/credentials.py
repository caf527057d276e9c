"""Passwords of database roles and keys of calls, which processes of different contexts need not share."""

from django.core.exceptions import ImproperlyConfigured

from config.contexts import ALL_CONTEXTS
from config.settings.security import MIN_SECRET_CHARACTERS, SECRET_KEY, SECRET_KEY_FALLBACKS
from shop.credentials import Credentials, CredentialStore
from shop.setting_types import read_credentials, read_secrets
from shop.settings import env, read_setting

CREDENTIAL_KEY: str = read_setting(
    "CREDENTIAL_KEY",
    env.str,
    "",
    description="32 characters or more; SECRET_KEY if it is not set. The passwords of database roles and the keys of calls are "
    "derived from it. Give it only to processes that have no `<CONTEXT>_SECRETS`.",
)
# Former values of CREDENTIAL_KEY, or its next one, as SECRET_KEY_FALLBACKS. What is derived from them is accepted.
CREDENTIAL_KEY_FALLBACKS: list[str] = read_setting("CREDENTIAL_KEY_FALLBACKS", read_secrets, [])
if any(0 < len(key) < MIN_SECRET_CHARACTERS for key in (CREDENTIAL_KEY, *CREDENTIAL_KEY_FALLBACKS)):
    raise ImproperlyConfigured(f"CREDENTIAL_KEY (or a fallback) is shorter than {MIN_SECRET_CHARACTERS} characters")


def collect_credentials() -> Credentials:
    """Return the credentials of contexts that this process was given, by purpose."""
    given: Credentials = {}
    for context in ALL_CONTEXTS:
        given |= read_setting(
            f"{context.upper()}_SECRETS",
            read_credentials,
            {},
            family="<CONTEXT>_SECRETS",
            shown_default="",
            description="Secrets of a hosted context, instead of CREDENTIAL_KEY, as `python -m ops.launch.keys` writes it.",
        )
    return given


GIVEN_CREDENTIALS = collect_credentials()
HAS_NEEDLESS_CREDENTIAL_KEY = bool(GIVEN_CREDENTIALS and CREDENTIAL_KEY)  # config/checks.py warns of it
DEFAULT_CREDENTIAL_KEYS = [SECRET_KEY, *SECRET_KEY_FALLBACKS]
CREDENTIALS = CredentialStore(GIVEN_CREDENTIALS, CREDENTIAL_KEY, CREDENTIAL_KEY_FALLBACKS, DEFAULT_CREDENTIAL_KEYS)
