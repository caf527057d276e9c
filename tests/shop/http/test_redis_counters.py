"""Rate limits that are counted in a real Valkey: the same rules as in the database, which counts while Valkey is down."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from django.core.exceptions import ImproperlyConfigured

from ops.launch import valkey
from shop.errors import TooManyRequests
from shop.http.rate_limits import Limiter, count_failure
from shop.http.redis_counters import PREFIX
from shop.setting_types import read_redis_url
from shop.settings import read_setting
from tests.concurrency import eventually, repeat_concurrently
from tests.ports import reserve_port
from tests.shop.http import count_requests
from tests.shop.http.test_rate_limits import (
    ALIAS,
    LIMIT,
    attempt,
    is_accepted,
    is_attempt_accepted,
    limiter,
    unique_key,
    wait_of,
)


class Server:
    """A Valkey that a test starts and stops."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, reserve_port()
        self.url = valkey.build_url(self.port)

    def start(self) -> None:
        self.process = subprocess.Popen(valkey.build_command(self.port, self.folder), stdout=subprocess.DEVNULL)
        eventually(lambda: valkey.is_responding(self.port))

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("valkey"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def limits(settings, server):
    settings.RATE_LIMITS = True
    settings.RATE_LIMIT_STORE, settings.REDIS_URL = "redis", server.url
    settings.RATE_LIMIT_CARTS = "3/minute"
    return settings


def let_time_pass(address: str, seconds: float, url: str) -> None:
    with redis.Redis.from_url(url) as client:
        for subject in limiter(address).counters:
            key = f"{PREFIX}{subject}"
            client.zadd(key, {member: score - seconds for member, score in client.zrange(key, 0, -1, withscores=True)})


def test_requests_above_the_quota_are_refused_until_the_first_is_older_than_the_period(server):
    address = unique_key()
    assert [is_accepted(address) for _ in range(5)] == [True] * 3 + [False] * 2
    assert is_accepted(unique_key())
    assert 59 <= wait_of(address) <= 60
    let_time_pass(address, 50, server.url)
    assert wait_of(address) <= 10
    let_time_pass(address, 10, server.url)
    assert [is_accepted(address) for _ in range(4)] == [True] * 3 + [False]


def test_two_processes_together_never_exceed_the_quota(limits):
    limits.RATE_LIMIT_CARTS = "40/hour"
    address = unique_key()
    command = [sys.executable, "-c", count_requests.MAIN, ALIAS, LIMIT, address, "8", "10"]
    names = ("RATE_LIMIT_CARTS", "RATE_LIMIT_STORE", "REDIS_URL")
    environment = os.environ | {"RATE_LIMITS": "true"} | {name: getattr(limits, name) for name in names}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as other:
        here = count_requests.count(ALIAS, LIMIT, address, 8, 10)
        there = int(other.communicate(timeout=120)[0].splitlines()[-1])
    assert here + there == 40


def test_a_refused_request_is_counted_by_none_of_its_keys(limits):
    limits.RATE_LIMIT_CARTS = "address:100/minute,email:2/minute"
    address, email = unique_key(), unique_key()
    assert [is_accepted(address, email=email) for _ in range(5)] == [True, True, False, False, False]
    used = limiter(address)
    used.count()
    assert [hit.used for hit in used.hits.values()] == [3]
    assert used.build_headers() == {"RateLimit-Policy": '"carts";q=100;w=60', "RateLimit": '"carts";r=97;t=60'}


def test_successful_attempts_take_nothing_of_a_quota_of_failures(limits):
    limits.RATE_LIMIT_CARTS = "4/minute"
    address = unique_key()
    for _ in range(20):
        attempted = attempt(address)
        attempted.count()
        attempted.release()
    assert [is_attempt_accepted(address) for _ in range(4)] == [True] * 3 + [False]


def test_of_parallel_attempts_no_more_than_the_quota_fail(limits):
    limits.RATE_LIMIT_CARTS = "10/minute"
    address = unique_key()
    assert sum(repeat_concurrently(40, lambda _: is_attempt_accepted(address))) == 10


def test_parallel_attempts_that_succeed_wait_for_each_other_and_none_is_refused(limits):
    limits.RATE_LIMIT_CARTS = "4/minute"
    address = unique_key()

    def succeed(_: int) -> None:
        attempted = attempt(address)
        attempted.count()
        attempted.release()

    assert repeat_concurrently(16, succeed) == [None] * 16


def test_a_failure_after_the_response_is_counted_even_if_the_quota_is_used_up(limits, server):
    limits.RATE_LIMIT_CARTS = "3/minute"
    address = unique_key()
    for _ in range(5):
        count_failure(ALIAS, LIMIT, attempt(address).list_failure_subjects())
    with redis.Redis.from_url(server.url) as client:
        assert [client.zcard(f"{PREFIX}{subject}") for subject in attempt(address).counters] == [3]
    assert not is_attempt_accepted(address)
    let_time_pass(address, 60, server.url)
    assert is_attempt_accepted(address)


def test_counters_expire_with_their_period(server):
    address = unique_key()
    assert is_accepted(address)
    [subject] = limiter(address).counters
    with redis.Redis.from_url(server.url) as client:
        assert 0 < client.pttl(f"{PREFIX}{subject}") <= 60_000


def test_while_valkey_is_down_the_database_counts(limits, tmp_path):
    server = Server(tmp_path)
    server.start()
    limits.REDIS_URL = server.url
    address = unique_key()
    assert all(is_accepted(address) for _ in range(3))
    successful, failed = attempt(unique_key()), attempt(unique_key())
    successful.count()
    failed.count()
    server.stop()
    successful.release()  # an outage is no error of a request that has succeeded
    failed.fail()
    accepted = repeat_concurrently(10, lambda _: is_accepted(address))
    assert sum(accepted) == 3


def test_counting_in_a_database_is_the_default(settings):
    settings.RATE_LIMIT_STORE = "database"
    used = Limiter(ALIAS, [LIMIT], {"address": unique_key()})
    used.count()
    assert used.redis_url == ""
    for _ in range(2):
        used.count()
    with pytest.raises(TooManyRequests):
        used.count()


def test_an_address_that_is_not_of_redis_stops_the_start(monkeypatch):
    monkeypatch.setenv("REDIS_URL", "amqp://broker")
    with pytest.raises(ImproperlyConfigured, match="REDIS_URL cannot be read: must be a redis:// or rediss:// URL"):
        read_setting("REDIS_URL", read_redis_url, "")
