"""Rate limits: bound the number of requests in any period, counted in the database of the context that serves them.

    @endpoint(access=ANYONE, body=Registration, responses={201: Profile}, limits=("register",))

Each limit is a setting, RATE_LIMIT_REGISTER for example, with a quota for each key that requests are counted by: the
address of the client, the account, the e-mail address in the body, the card. One atomic upsert counts a request for all
keys, so that parallel requests, of several processes as well, never exceed a quota: a counter is one row, whose lock
orders them, and stores the time of each request in the period. A refused request is not counted. The upsert commits
without waiting for the disk: a crash of the server forgets the requests of less than a second. With
RATE_LIMIT_STORE=redis the counters are in Redis or Valkey instead; while that is unavailable, they are in the database.
While SECRET_KEY is being changed, each request is counted under every key, so that no quota starts anew.
"""

import math
import time
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

import structlog
from django.conf import settings
from django.http import HttpRequest

from shop.addresses.email import normalize_address
from shop.db.database import OUTAGE_ERRORS
from shop.errors import TooManyRequests, Unavailable
from shop.http import rate_counters
from shop.http.idempotency import Key, is_stored
from shop.http.proxies import get_client_network
from shop.http.quotas import Quota, parse_quotas
from shop.http.rate_counters import Answer, Hit, Quotas
from shop.keyed_hashes import compute_keyed_hashes

log = structlog.get_logger(__name__)

UNRELEASED_PART = 4  # a quarter of a quota of failures may be taken by successes that are not released
MAX_BUSY_SECONDS = 2.0  # how long a request waits while attempts under way fill a quota of failures
RECOUNT_INTERVAL_SECONDS = 0.05


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

    def __init__(
        self, context: str, limits: Iterable[str], keys: Mapping[str, str], failure_limits: Iterable[str] = ()
    ) -> None:
        """limits: their names; the setting of `orders` is RATE_LIMIT_ORDERS. keys: from `collect_keys`.

        failure_limits: those that count failures only. The request is an attempt, which takes a part of them until `fail`
        or `release`.
        """
        self.context, self.keys = context, keys
        self.requests = _build_counters(limits, keys)
        self.attempts = _build_counters(failure_limits, keys)
        self.hits: dict[str, Hit] = {}
        self.waits: dict[str, float] = {}  # of the refused counters, in seconds
        self.redis_url = ""  # where it was counted; empty: in the database
        self.is_released = False
        self.refused_by: Limiter | None = None  # another limit, see `count_also`

    @property
    def counters(self) -> dict[str, Counter]:
        """Return all counters by subject."""
        return self.requests | self.attempts

    def count(self, key: Key | None = None) -> None:
        """Count the request by every key, or by none. Raises TooManyRequests if one of the quotas is used up.

        key: a request whose idempotency key is stored is a repeat, which is neither counted nor refused.

        While the attempts of others fill a quota of failures, wait for their outcomes: a client with several attempts at a
        time and no failure is not refused.
        """
        deadline = time.monotonic() + MAX_BUSY_SECONDS
        while self.counters:
            self.hits, self.waits, is_busy = self._count(_get_quotas(self.requests), _get_quotas(self.attempts), key)
            if not is_busy or time.monotonic() > deadline:
                break
            time.sleep(RECOUNT_INTERVAL_SECONDS)
        if self.waits:
            retry_after = max(1, math.ceil(max(self.waits.values())))
            raise TooManyRequests(retry_after=retry_after).with_headers(self.build_headers())

    def count_also(self, limit: str, key: Key | None = None) -> None:
        """Count the request by one more limit, which applies to some requests only. Raises TooManyRequests. See `count`."""
        other = Limiter(self.context, [limit], self.keys)
        try:
            other.count(key)
        except TooManyRequests:
            self.refused_by = other
            raise

    def _count(self, requests: Quotas, attempts: Quotas, key: Key | None) -> Answer:
        if settings.RATE_LIMIT_STORE == "redis":
            if key and is_stored(self.context, key):
                return Answer({}, {})
            from shop.http import redis_counters  # only here: its library is slow to import, and few shops use it

            try:
                answer = redis_counters.count(settings.REDIS_URL, requests, attempts)
            except Unavailable as error:
                log.warning("rate_limit_store_unavailable", error=str(error.__cause__))
            else:
                self.redis_url = settings.REDIS_URL
                return answer
        return rate_counters.count(self.context, requests, attempts, key)

    def release(self) -> None:
        """Release what `count` took of the limits of failures, because the request did not fail.

        Up to a quarter of a quota stays taken for ATTEMPT_SECONDS: that saves the statement for almost all clients. An outage
        of the database leaves the quota taken as well, since the request itself has succeeded.
        """
        self.is_released = True
        taken = [
            subject
            for subject, counter in sorted(self.attempts.items())
            if subject in self.hits and self.hits[subject].used > counter.quota.limit // UNRELEASED_PART
        ]
        try:
            if self.redis_url:
                from shop.http import redis_counters

                redis_counters.remove(self.redis_url, self.hits, taken)
            else:
                rate_counters.remove(self.context, self.hits, taken)
        except OUTAGE_ERRORS as error:
            log.warning("rate_limit_not_released", error=str(error))

    def fail(self) -> None:
        """Count the request as a failure by every limit of failures."""
        _fail(self.context, _get_quotas(self.attempts), self.hits, self.redis_url)

    def list_failure_subjects(self) -> dict[str, str]:
        """Return the subjects of the limit of failures by key, for `count_failure` if the failure comes later."""
        return {counter.key: subject for subject, counter in self.attempts.items()}

    def build_headers(self) -> dict[str, str]:
        """Return RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-10) of the scarcest quota."""
        if self.refused_by:
            return self.refused_by.build_headers()
        if self.waits:
            subject = max(self.waits, key=self.waits.__getitem__)
            remaining, reset = 0, self.waits[subject]
        else:
            shown = [subject for subject in self.hits if not (self.is_released and subject in self.attempts)]
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


def count_failure(context: str, limit: str, subjects: Mapping[str, str]) -> None:
    """Count a failure of a request that was answered before. subjects: from `Limiter.list_failure_subjects`."""
    quotas = {subject: quota for key, subject in subjects.items() if (quota := _get_quota(limit, key))}
    _fail(context, dict(sorted(quotas.items())), {})


def _fail(context: str, quotas: Quotas, hits: Mapping[str, Hit], counted_in: str = "") -> None:
    """Count a failure. An outage is only logged: the request itself has its outcome.

    hits: the attempts that have failed. counted_in: the Redis in which they are; empty: in the database.
    """
    attempts = {subject: hit for subject, hit in hits.items() if subject in quotas}
    try:
        if settings.RATE_LIMIT_STORE == "redis" and _try_redis(quotas, attempts if counted_in else {}):
            return
        rate_counters.fail(context, quotas, {} if counted_in else attempts)
    except OUTAGE_ERRORS as error:
        log.warning("rate_limit_failure_not_counted", error=str(error))


def _try_redis(quotas: Quotas, attempts: Mapping[str, Hit]) -> bool:
    """Count a failure in Redis, or return False if it is unavailable."""
    from shop.http import redis_counters

    try:
        redis_counters.fail(settings.REDIS_URL, quotas, attempts)
    except Unavailable as error:
        log.warning("rate_limit_store_unavailable", error=str(error.__cause__))
        return False
    return True


def _build_counters(limits: Iterable[str], keys: Mapping[str, str]) -> dict[str, Counter]:
    found = {
        subject: Counter(limit, key, quota)
        for limit in limits
        for key, value in keys.items()
        if (quota := _get_quota(limit, key))
        for subject in compute_keyed_hashes(f"rate limit {limit} {key} {value}".encode())
    }
    return dict(sorted(found.items()))


def _get_quotas(counters: Mapping[str, Counter]) -> dict[str, Quota]:
    return {subject: counter.quota for subject, counter in counters.items()}


def _get_quota(limit: str, key: str) -> Quota | None:
    if not settings.RATE_LIMITS:
        return None
    quotas = parse_quotas(getattr(settings, f"RATE_LIMIT_{limit.upper()}"))
    return quotas.get(key) or quotas.get("")
