"""Rate limit counters in Redis or Valkey, for shops with more limited requests than a database should count.

A counter is a sorted set of the requests in the period, by time, and another one of the attempts that are under way. One script
counts a request for all its keys or for none; the server runs one script at a time. Only the clock of the server is used.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import redis

from shop.errors import Unavailable
from shop.http.rate_counters import ATTEMPT_SECONDS, BUSY_WAIT_SECONDS, Answer, Hit, Quotas
from shop.ids import uuid7

TIMEOUT_SECONDS = 1.0
PREFIX = "{rate limit}"  # the braces keep the keys of one request on one node of a cluster

_READ_CLOCK = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
"""

# KEYS: of each counter its requests or failures, and its attempts. ARGV: the member to add, then quota, period in seconds and
# whether an attempt is counted (1 or 0) of each counter.
# Returns whether the request was counted, then for each counter: requests in the period with this one, and seconds until
# the first one leaves it; or if it is refused, whether the quota is used up but for attempts (1 or 0), and the seconds to wait,
# 0 if this quota is not used up.
_COUNT_SCRIPT = f"""{_READ_CLOCK}
local waits, busy, is_refused = {{}}, {{}}, false
for i = 1, #KEYS / 2 do
    local hits, attempts = KEYS[2 * i - 1], KEYS[2 * i]
    local quota, period, is_attempt = tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i]), ARGV[3 * i + 1] == '1'
    redis.call('ZREMRANGEBYSCORE', hits, '-inf', now - period)
    redis.call('ZREMRANGEBYSCORE', attempts, '-inf', now - {ATTEMPT_SECONDS})
    local used = redis.call('ZCARD', hits)
    waits[i], busy[i] = 0, 0
    if used >= quota then
        is_refused = true
        waits[i] = tonumber(redis.call('ZRANGE', hits, used - quota, used - quota, 'WITHSCORES')[2]) + period - now
    elseif is_attempt and used + redis.call('ZCARD', attempts) >= quota then
        is_refused = true
        waits[i], busy[i] = {BUSY_WAIT_SECONDS}, 1
    end
end
local answer = {{is_refused and 0 or 1}}
for i = 1, #KEYS / 2 do
    local hits, attempts = KEYS[2 * i - 1], KEYS[2 * i]
    local seconds, used = waits[i], busy[i]
    if not is_refused then
        local period, is_attempt = tonumber(ARGV[3 * i]), ARGV[3 * i + 1] == '1'
        local lifetime = is_attempt and {ATTEMPT_SECONDS} or period
        redis.call('ZADD', is_attempt and attempts or hits, now, ARGV[1])
        redis.call('PEXPIRE', is_attempt and attempts or hits, math.ceil(lifetime * 1000))
        used = redis.call('ZCARD', hits) + (is_attempt and redis.call('ZCARD', attempts) or 0)
        local first = redis.call('ZRANGE', hits, 0, 0, 'WITHSCORES')[2]
        seconds = first and tonumber(first) + period - now or period
    end
    answer[#answer + 1] = used
    answer[#answer + 1] = tostring(seconds)
end
return answer
"""

# KEYS: as above. ARGV: the member, then quota and period in seconds of each counter. A failure is stored even if the quota is
# used up, instead of the oldest one.
_FAIL_SCRIPT = f"""{_READ_CLOCK}
for i = 1, #KEYS / 2 do
    local hits, quota, period = KEYS[2 * i - 1], tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
    redis.call('ZREM', KEYS[2 * i], ARGV[1])
    redis.call('ZREMRANGEBYSCORE', hits, '-inf', now - period)
    redis.call('ZADD', hits, now, ARGV[1])
    redis.call('ZREMRANGEBYRANK', hits, 0, -quota - 1)
    redis.call('PEXPIRE', hits, math.ceil(period * 1000))
end
"""

Script = Callable[[list[str], list[str | int]], Any]  # the library does not type the result of a script


class Connection(NamedTuple):
    """A connection pool, and the scripts that count."""

    client: redis.Redis
    count_script: Script
    fail_script: Script


@lru_cache(maxsize=2)
def _connect(url: str) -> Connection:
    client = redis.Redis.from_url(url, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS)
    return Connection(client, client.register_script(_COUNT_SCRIPT), client.register_script(_FAIL_SCRIPT))


def build_attempts_key(subject: str) -> str:
    """Return the key of the attempts of a subject that are under way."""
    return f"{PREFIX}{subject} attempts"


def _build_keys(subjects: Iterable[str]) -> list[str]:
    return [key for subject in subjects for key in (f"{PREFIX}{subject}", build_attempts_key(subject))]


def count(url: str, requests: Quotas, attempts: Quotas) -> Answer:
    """Count a request by every subject, or by none if one of the quotas is used up. Raises Unavailable.

    requests: quotas that every request takes. attempts: quotas of failures, which it takes while it is under way.
    """
    member = uuid7().hex
    quotas = {**requests, **attempts}
    arguments: list[str | int] = [member]
    for subject, quota in quotas.items():
        arguments += [quota.limit, quota.seconds, int(subject in attempts)]
    try:
        is_counted, *answer = _connect(url).count_script(_build_keys(quotas), arguments)
    except redis.RedisError as error:
        raise Unavailable(what="Redis") from error
    numbers = list(zip(quotas, answer[::2], map(float, answer[1::2]), strict=True))
    if is_counted:
        return Answer({subject: Hit(used, member, reset) for subject, used, reset in numbers}, {})
    refused = {subject: wait for subject, _, wait in numbers if wait}
    return Answer({}, refused, is_busy=all(is_busy for _, is_busy, wait in numbers if wait))


def remove(url: str, hits: Mapping[str, Hit], subjects: Iterable[str]) -> None:
    """Remove the attempt that did not fail from these subjects. Raises Unavailable."""
    try:
        with _connect(url).client.pipeline(transaction=False) as pipeline:
            for subject in subjects:
                pipeline.zrem(build_attempts_key(subject), str(hits[subject].counted_as))
            pipeline.execute()
    except redis.RedisError as error:
        raise Unavailable(what="Redis") from error


def fail(url: str, quotas: Quotas, hits: Mapping[str, Hit]) -> None:
    """Count a failure by every subject. hits: the attempts that have failed, if they are under way. Raises Unavailable."""
    member = next((str(hit.counted_as) for hit in hits.values()), uuid7().hex)
    arguments: list[str | int] = [member]
    for quota in quotas.values():
        arguments += [quota.limit, quota.seconds]
    try:
        _connect(url).fail_script(_build_keys(quotas), arguments)
    except redis.RedisError as error:
        raise Unavailable(what="Redis") from error
