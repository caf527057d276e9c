"""Quotas of rate limits as settings write them: `10/minute`, or one for each key: `address:300/minute,email:30/hour`.

Imports nothing that needs configured settings, because settings are read with it.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from shop.settings import env, read_setting

KEYS = ("address", "account", "email", "card")  # what requests are counted by
HOLD_KEYS = ("address", "account", "email", "recipient")  # what orders that hold stock unpaid are counted by
OFF = "off"
MAX_LIMIT = 10_000  # a counter stores the time of each request
MAX_SECONDS = 7 * 86400
SECONDS_BY_UNIT = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}

_QUOTA = re.compile(rf"(?:({'|'.join(KEYS)}):)?([0-9]{{1,6}})/([0-9]{{1,6}})?(second|minute|hour|day)s?")


@dataclass(frozen=True)
class Quota:
    """A number of requests in any period of this length."""

    limit: int
    seconds: int


@lru_cache(maxsize=200)
def parse_quotas(text: str) -> dict[str, Quota]:
    """Return the quota of each key; the one of "" holds for every other key. `off` is no quota. Raises ValueError."""
    if text.strip() == OFF:
        return {}
    quotas: dict[str, Quota] = {}
    for part in text.split(","):
        match = _QUOTA.fullmatch(part.strip())
        if match is None:
            raise ValueError(
                f"{part.strip()!r} is not a rate limit; write 10/minute, 5/10minutes, off, or one for each of "
                f"{', '.join(KEYS)}, as in address:300/minute,email:30/hour"
            )
        key, limit, count, unit = match.groups()
        if (key or "") in quotas:
            raise ValueError(f"{text!r} has two limits for {key or 'every key'}")
        quotas[key or ""] = _build_quota(int(limit), int(count or 1) * SECONDS_BY_UNIT[unit])
    return quotas


def _build_quota(limit: int, seconds: int) -> Quota:
    if not 1 <= limit <= MAX_LIMIT:
        raise ValueError(f"the limit {limit} is not between 1 and {MAX_LIMIT}; `{OFF}` switches it off")
    if not 1 <= seconds <= MAX_SECONDS:
        raise ValueError(f"a period of {seconds} seconds is not between 1 second and {MAX_SECONDS // 86400} days")
    return Quota(limit, seconds)


@lru_cache(maxsize=50)
def parse_limits(text: str, keys: tuple[str, ...]) -> dict[str, int]:
    """Return the limit of each of these keys, of something that has no period. `off` is no limit. Raises ValueError."""
    if text.strip() == OFF:
        return {}
    limits: dict[str, int] = {}
    for part in text.split(","):
        key, _, number = part.strip().partition(":")
        if key not in keys or key in limits or not re.fullmatch("[1-9][0-9]{0,8}", number):
            raise ValueError(
                f"{part.strip()!r} is not a limit; write off, or one for each of {', '.join(keys)}, as in {keys[0]}:30"
            )
        limits[key] = int(number)
    return limits


def read_limits(name: str, keys: tuple[str, ...], default: str) -> str:
    """Return the text of limits by key from the environment. Raises ImproperlyConfigured if they cannot be parsed."""

    def read(name: str, default: Any) -> str:
        text = str(env.str(name, default=default))
        parse_limits(text, keys)
        return text

    return str(read_setting(name, read, default))


def read_rate_limit(name: str, default: str) -> str:
    """Return the text of a rate limit from the environment. Raises ImproperlyConfigured if it cannot be parsed."""

    def read(name: str, default: Any) -> str:
        text = str(env.str(name, default=default))
        parse_quotas(text)
        return text

    return str(read_setting(name, read, default))
