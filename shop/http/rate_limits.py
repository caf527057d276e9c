"""Rate limits: bound the number of requests in any period, counted in the database of the context that serves them.

    @endpoint(access=ANYONE, body=Registration, responses={201: Profile}, limits=("register",))

Each limit is a setting, RATE_LIMIT_REGISTER for example, with a quota for each key that requests are counted by: the
address of the client, the account, the e-mail address in the body, the card. One atomic upsert counts a request for all
keys, so that parallel requests, of several processes as well, never exceed a quota: a counter is one row, whose lock
orders them, and stores the time of each request in the period. A refused request is not counted. The upsert commits
without waiting for the disk: a crash of the server forgets the requests of less than a second. With
RATE_LIMIT_STORE=redis the counters are in Redis or Valkey instead; while that is unavailable, they are in the database.
"""

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

import structlog
from django.conf import settings
from django.http import HttpRequest

from shop.addresses.email import normalize_address
from shop.db.database import OUTAGE_ERRORS
from shop.errors import TooManyRequests, Unavailable
from shop.http import rate_counters
from shop.http.idempotency import compute_keyed_hash
from shop.http.proxies import get_client_network
from shop.http.quotas import Quota, parse_quotas
from shop.http.rate_counters import Answer, Hit

log = structlog.get_logger(__name__)

UNRELEASED_PART = 4  # a quarter of a quota of failures may be taken by successes that are not released


class Caller(Protocol):
    """The caller of a request, signed in or not."""

    @property
    def id(self) -> object: ...


class Counter(NamedTuple):
    """One limit, one key that it counts by, and its quota."""

    limit: str
    key: str
    quota: Quota


def normalize_email(email: str) -> str:
    """Return one spelling for all addresses that reach the same mailbox by a tag (name+tag@example.com) or by case."""
    local, _, domain = normalize_address(email).rpartition("@")
    return f"{local.partition('+')[0]}@{domain}"


def collect_keys(request: HttpRequest, caller: Caller, body: object) -> dict[str, str]:
    """Return the values that a request is counted by: address, account, and e-mail address and card of its body."""
    payment = getattr(body, "payment_method", None)
    token = getattr(payment, "token", None)
    email = getattr(body, "email", None)
    found = {
        "address": get_client_network(request),
        "account": str(caller.id or ""),
        "email": normalize_email(email) if isinstance(email, str) else "",
        "card": f"{getattr(payment, 'provider', '')} {token}" if isinstance(token, str) else "",
    }
    return {key: value for key, value in found.items() if value}


class Limiter:
    """The rate limits of one request, and after `count` what is left of them."""

    def __init__(self, context: str, limits: Iterable[str], keys: Mapping[str, str]) -> None:
        """limits: their names; the setting of `orders` is RATE_LIMIT_ORDERS. keys: from `collect_keys`."""
        self.context = context
        self.counters = {
            compute_keyed_hash(f"rate limit {limit} {key} {value}".encode()): Counter(limit, key, quota)
            for limit in limits
            for key, value in keys.items()
            if (quota := _get_quota(limit, key))
        }
        self.hits: dict[str, Hit] = {}
        self.waits: dict[str, float] = {}  # of the refused counters, in seconds
        self.redis_url = ""  # where it was counted; empty: in the database
        self.released: set[str] = set()  # limits

    def count(self) -> None:
        """Count the request by every key, or by none. Raises TooManyRequests if one of the quotas is used up."""
        if self.counters:
            self.hits, self.waits = self._count({subject: counter.quota for subject, counter in self.counters.items()})
        if self.waits:
            raise TooManyRequests(retry_after=max(1, math.ceil(max(self.waits.values()))))

    def _count(self, quotas: dict[str, Quota]) -> Answer:
        if settings.RATE_LIMIT_STORE == "redis":
            from shop.http import redis_counters  # only here: its library is slow to import, and few shops use it

            try:
                answer = redis_counters.count(settings.REDIS_URL, quotas)
            except Unavailable as error:
                log.warning("rate_limit_store_unavailable", error=str(error.__cause__))
            else:
                self.redis_url = settings.REDIS_URL
                return answer
        return rate_counters.count(self.context, quotas)

    def release(self, limit: str) -> None:
        """Release what `count` took of a limit that counts failures only, because the request did not fail.

        Up to a quarter of a quota stays taken until the period is over: that saves the statement for almost all clients,
        and a client with many successes still has the rest for failures. An outage of the database leaves the
        quota taken as well, since the request itself has succeeded.
        """
        self.released.add(limit)
        try:
            self._remove(
                subject
                for subject, hit in self.hits.items()
                if self.counters[subject].limit == limit
                and hit.used > self.counters[subject].quota.limit // UNRELEASED_PART
            )
        except OUTAGE_ERRORS as error:
            log.warning("rate_limit_not_released", limit=limit, error=str(error))

    def _remove(self, subjects: Iterable[str]) -> None:
        if self.redis_url:
            from shop.http import redis_counters

            redis_counters.remove(self.redis_url, self.hits, subjects)
        else:
            rate_counters.remove(self.context, self.hits, subjects)

    def build_headers(self) -> dict[str, str]:
        """Return RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-10) of the scarcest quota."""
        if self.waits:
            subject = max(self.waits, key=self.waits.__getitem__)
            remaining, reset = 0, self.waits[subject]
        else:
            shown = [subject for subject in self.hits if self.counters[subject].limit not in self.released]
            if not shown:
                return {}
            subject = min(shown, key=self._count_remaining)
            remaining, reset = self._count_remaining(subject), self.hits[subject].reset_seconds
        limit, _, quota = self.counters[subject]
        return {
            "RateLimit-Policy": f'"{limit}";q={quota.limit};w={quota.seconds}',
            "RateLimit": f'"{limit}";r={remaining};t={max(1, math.ceil(reset))}',
        }

    def _count_remaining(self, subject: str) -> int:
        return self.counters[subject].quota.limit - self.hits[subject].used


def _get_quota(limit: str, key: str) -> Quota | None:
    if not settings.RATE_LIMITS:
        return None
    quotas = parse_quotas(getattr(settings, f"RATE_LIMIT_{limit.upper()}"))
    return quotas.get(key) or quotas.get("")
