"""Rate limit counters in Redis or Valkey, for shops with more limited requests than a database should count.

A counter is a sorted set of the requests in the period, by time. One script counts a request for all its keys or for none;
the server runs one script at a time. Only the clock of the server is used.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import redis

from shop.errors import Unavailable
from shop.http.rate_counters import Answer, Hit, Quotas
from shop.ids import uuid7

TIMEOUT_SECONDS = 1.0
PREFIX = "{rate limit}"  # the braces keep the keys of one request on one node of a cluster

# KEYS: counters. ARGV: the member to add, then quota and period in seconds of each counter.
# Returns whether the request was counted, then for each counter: requests in the period with this one, and seconds until
# the first one leaves it; or if it is refused, how many there are and the seconds to wait, 0 if this quota is not used up.
_COUNT_SCRIPT = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local waits, is_refused = {}, false
for i, key in ipairs(KEYS) do
    local quota, period = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
    redis.call('ZREMRANGEBYSCORE', key, '-inf', now - period)
    local used = redis.call('ZCARD', key)
    waits[i] = 0
    if used >= quota then
        is_refused = true
        waits[i] = tonumber(redis.call('ZRANGE', key, used - quota, used - quota, 'WITHSCORES')[2]) + period - now
    end
end
local answer = {is_refused and 0 or 1}
for i, key in ipairs(KEYS) do
    local seconds, used = waits[i], 0
    if not is_refused then
        local period = tonumber(ARGV[2 * i + 1])
        redis.call('ZADD', key, now, ARGV[1])
        redis.call('PEXPIRE', key, math.ceil(period * 1000))
        used = redis.call('ZCARD', key)
        seconds = tonumber(redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]) + period - now
    end
    answer[#answer + 1] = used
    answer[#answer + 1] = tostring(seconds)
end
return answer
"""


class Connection(NamedTuple):
    """A connection pool, and the script that counts."""

    client: redis.Redis
    script: Callable[[list[str], list[str | int]], Any]  # the library does not type the result of a script


@lru_cache(maxsize=2)
def _connect(url: str) -> Connection:
    client = redis.Redis.from_url(url, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS)
    return Connection(client, client.register_script(_COUNT_SCRIPT))


def count(url: str, quotas: Quotas) -> Answer:
    """Count a request by every subject, or by none if one of the quotas is used up. Raises Unavailable."""
    member = uuid7().hex
    arguments: list[str | int] = [member]
    for quota in quotas.values():
        arguments += [quota.limit, quota.seconds]
    try:
        is_counted, *answer = _connect(url).script([f"{PREFIX}{subject}" for subject in quotas], arguments)
    except redis.RedisError as error:
        raise Unavailable(what="Redis") from error
    seconds = map(float, answer[1::2])
    if is_counted:
        counted = zip(quotas, answer[::2], seconds, strict=True)
        return Answer({subject: Hit(used, member, reset) for subject, used, reset in counted}, {})
    return Answer({}, {subject: wait for subject, wait in zip(quotas, seconds, strict=True) if wait})


def remove(url: str, hits: Mapping[str, Hit], subjects: Iterable[str]) -> None:
    """Remove a counted request from these subjects. Raises Unavailable."""
    try:
        with _connect(url).client.pipeline(transaction=False) as pipeline:
            for subject in subjects:
                pipeline.zrem(f"{PREFIX}{subject}", str(hits[subject].counted_as))
            pipeline.execute()
    except redis.RedisError as error:
        raise Unavailable(what="Redis") from error
