"""The keys that sign what one context sends to another: calls, and messages through a broker."""

from django.conf import settings

from shop.credentials import name_calls_to


def get_call_keys(caller: str, callee: str) -> list[str]:
    """Return the keys from a context to another one. The first one signs, all are accepted. Empty: none is known here."""
    keys: list[str] = settings.CALL_KEYS.get(name_calls_to(caller, callee)) or settings.CALL_KEYS.get(caller, [])
    return keys
