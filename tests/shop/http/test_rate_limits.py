"""Rate limits: never more than the quota in any period, over threads and processes, and headers that say what is left."""

import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.test import RequestFactory

from shop.db.database import execute, fetch_rows, transaction
from shop.db.retention import list_model_rules
from shop.errors import InTransaction, TooManyRequests
from shop.http import rate_counters
from shop.http.quotas import Quota, parse_quotas, read_rate_limit
from shop.http.rate_counters import ATTEMPT_SECONDS
from shop.http.rate_limits import Limiter, collect_keys, count_failure, normalize_email
from shop.models import RateLimit
from shop.purging import purge_now
from tests.concurrency import eventually, repeat_concurrently
from tests.shop.http import count_requests

T = TypeVar("T")

ALIAS = "orders"
LIMIT = "carts"  # any name whose setting the test overrides


@pytest.fixture(autouse=True)
def limits(settings):
    settings.RATE_LIMITS = True
    settings.RATE_LIMIT_CARTS = "3/minute"
    return settings


def unique_key() -> str:
    return uuid.uuid4().hex


def limiter(address: str, *limits: str, **keys: str) -> Limiter:
    return Limiter(ALIAS, limits or [LIMIT], {"address": address, **keys})


def is_accepted(address: str, **keys: str) -> bool:
    try:
        limiter(address, **keys).count()
    except TooManyRequests:
        return False
    return True


def wait_of(address: str) -> int:
    with pytest.raises(TooManyRequests) as refusal:
        limiter(address).count()
    return refusal.value.retry_after


def let_time_pass(address: str, seconds: float, counted: Limiter | None = None) -> None:
    [subject] = (counted or limiter(address)).counters
    sql = """UPDATE shop_ratelimit SET expires_at = expires_at - %(past)s * interval '1 second',
             hits = ARRAY(SELECT hit - %(past)s * interval '1 second' FROM unnest(hits) AS hit)
             WHERE subject = %(subject)s"""
    assert execute(ALIAS, sql, {"past": seconds, "subject": subject}) == 1


def test_requests_above_the_quota_are_refused_until_the_first_is_older_than_the_period():
    address, other = unique_key(), unique_key()
    assert [is_accepted(address) for _ in range(5)] == [True] * 3 + [False] * 2
    assert is_accepted(other)
    assert 59 <= wait_of(address) <= 60
    let_time_pass(address, 58)
    assert wait_of(address) <= 2
    let_time_pass(address, 2)
    assert [is_accepted(address) for _ in range(4)] == [True] * 3 + [False]


def test_the_period_slides():
    """Two requests late in one minute and one early in the next are three within a minute."""
    address = unique_key()
    assert is_accepted(address)
    assert is_accepted(address)
    let_time_pass(address, 50)
    assert [is_accepted(address), is_accepted(address)] == [True, False]
    assert wait_of(address) <= 10
    let_time_pass(address, 10)
    assert [is_accepted(address) for _ in range(3)] == [True, True, False]


def test_of_parallel_requests_exactly_the_quota_is_accepted(limits):
    limits.RATE_LIMIT_CARTS = "25/hour"
    address = unique_key()
    assert sum(repeat_concurrently(60, lambda _: is_accepted(address))) == 25


def test_two_processes_together_never_exceed_the_quota(limits):
    limits.RATE_LIMIT_CARTS = "40/hour"
    address = unique_key()
    command = [sys.executable, "-c", count_requests.MAIN, ALIAS, LIMIT, address, "8", "10"]
    environment = os.environ | {"RATE_LIMITS": "true", "RATE_LIMIT_CARTS": limits.RATE_LIMIT_CARTS}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as other:
        here = count_requests.count(ALIAS, LIMIT, address, 8, 10)
        there = int(other.communicate(timeout=120)[0].splitlines()[-1])
    assert here + there == 40
    assert not is_accepted(address)


def test_control_a_counter_that_is_read_before_it_is_written_exceeds_the_quota():
    """Negative control: all requests read the counter before the first one writes it."""
    address, all_have_read = unique_key(), threading.Barrier(10)
    [subject] = limiter(address).counters

    def is_accepted_without_lock(_: int) -> bool:
        sql = "SELECT coalesce(max(cardinality(hits)), 0) FROM shop_ratelimit WHERE subject = %s"
        [(used,)] = fetch_rows(ALIAS, sql, [subject])
        all_have_read.wait()
        limiter(unique_key()).count()
        return used < 3

    assert sum(repeat_concurrently(10, is_accepted_without_lock)) == 10 > 3


def test_a_refused_request_is_counted_by_none_of_its_keys(limits):
    limits.RATE_LIMIT_CARTS = "address:100/minute,email:2/minute"
    address, email = unique_key(), unique_key()
    assert [is_accepted(address, email=email) for _ in range(5)] == [True, True, False, False, False]
    used = limiter(address)
    used.count()
    assert [hit.used for hit in used.hits.values()] == [3]


def test_parallel_requests_with_common_keys_in_any_order_do_not_deadlock(limits):
    limits.RATE_LIMIT_CARTS = "1000/minute"
    keys = [unique_key() for _ in range(3)]

    def send(number: int) -> bool:
        one, two, three = (keys[(number + shift) % 3] for shift in range(3))
        return all(is_accepted(one, email=two, account=three) for _ in range(5))

    assert all(repeat_concurrently(20, send))


def attempt(address: str, **keys: str) -> Limiter:
    """Return a limiter that counts failures only."""
    return Limiter(ALIAS, [], {"address": address, **keys}, [LIMIT])


def is_attempt_accepted(address: str) -> bool:
    """Attempt and fail."""
    attempted = attempt(address)
    try:
        attempted.count()
    except TooManyRequests:
        return False
    attempted.fail()
    return True


def count_attempts(address: str) -> tuple[int, int]:
    """Return the failures, and the attempts that are stored."""
    sql = "SELECT cardinality(hits), cardinality(attempts) FROM shop_ratelimit WHERE subject = ANY(%s)"
    rows = fetch_rows(ALIAS, sql, [list(attempt(address).counters)])
    return rows[0] if rows else (0, 0)


def test_successful_attempts_take_nothing_of_a_quota_of_failures(limits):
    limits.RATE_LIMIT_CARTS = "4/minute"
    address = unique_key()
    for _ in range(20):
        attempted = attempt(address)
        attempted.count()
        attempted.release()
    assert count_attempts(address) == (0, 1), "up to a quarter is not released, which saves a statement"
    assert [is_attempt_accepted(address) for _ in range(4)] == [True, True, True, False]
    forget_attempts(address)
    assert [is_attempt_accepted(address) for _ in range(2)] == [True, False]


def forget_attempts(address: str) -> None:
    """Let the time pass after which attempts without an outcome are forgotten."""
    sql = """UPDATE shop_ratelimit
             SET attempts = ARRAY(SELECT hit - %s * interval '1 second' FROM unnest(attempts) AS hit)
             WHERE subject = ANY(%s)"""
    assert execute(ALIAS, sql, [ATTEMPT_SECONDS, list(attempt(address).counters)]) == 1


def test_an_attempt_whose_process_died_is_no_failure(limits):
    limits.RATE_LIMIT_CARTS = "2/minute"
    address = unique_key()
    for _ in range(2):
        attempt(address).count()
    with pytest.raises(TooManyRequests) as refusal:
        attempt(address).count()
    assert refusal.value.retry_after == 1, "most attempts under way have an outcome in a moment"
    forget_attempts(address)
    assert is_attempt_accepted(address)


def test_of_parallel_attempts_no_more_than_the_quota_fail(limits):
    limits.RATE_LIMIT_CARTS = "10/minute"
    address = unique_key()
    assert sum(repeat_concurrently(40, lambda _: is_attempt_accepted(address))) == 10
    assert count_attempts(address) == (10, 0)


def test_parallel_attempts_that_succeed_wait_for_each_other_and_none_is_refused(limits):
    limits.RATE_LIMIT_CARTS = "4/minute"
    address, under_way, most = unique_key(), [], []

    def succeed(_: int) -> None:
        attempted = attempt(address)
        attempted.count()
        under_way.append(attempted)
        most.append(len(under_way))
        under_way.remove(attempted)
        attempted.release()

    assert repeat_concurrently(16, succeed) == [None] * 16
    assert max(most) <= 4


def test_a_failure_after_the_response_is_counted_even_if_the_quota_is_used_up(limits):
    limits.RATE_LIMIT_CARTS = "address:3/minute,email:2/minute"
    address, email = unique_key(), unique_key()
    subjects = attempt(address, email=email).list_failure_subjects()
    assert subjects.keys() == {"address", "email"}
    for _ in range(5):
        count_failure(ALIAS, LIMIT, subjects)
    assert count_attempts(address) == (3, 0)
    assert not is_attempt_accepted(address)
    let_time_pass(address, 58, attempt(address))
    assert not is_attempt_accepted(address)
    let_time_pass(address, 2, attempt(address))
    assert is_attempt_accepted(address)


def build_count_parameters(*counters: tuple[str, int, bool]) -> dict[str, object]:
    """Build the parameters of the counting statement. counters: subject, quota, whether it is one of failures."""
    subjects, quotas, are_attempts = (list(column) for column in zip(*counters, strict=True))
    periods = [60] * len(subjects)
    of_no_key = {"scopes": [], "key": ""}
    return {"subjects": subjects, "quotas": quotas, "periods": periods, "are_attempts": are_attempts, **of_no_key}


def test_a_request_that_one_quota_refuses_takes_no_other_one_not_even_for_a_moment():
    """The counting statement returns what it took: the caller removes it again from a refused request."""
    full, address, failures = unique_key(), unique_key(), unique_key()
    parameters = build_count_parameters((full, 1, False), (address, 9, False), (failures, 9, True))
    assert len(fetch_rows(ALIAS, rate_counters.COUNT, parameters)) == 3
    assert fetch_rows(ALIAS, rate_counters.COUNT, parameters) == []


def race_for_last_hit(full: str, count: Callable[[], T]) -> T:
    """Run `count`, which waits for the row of `full`, while another request takes the last hit of its quota."""

    def count_in_thread() -> T:
        try:
            return count()
        finally:
            connections.close_all()

    with ThreadPoolExecutor() as pool:
        with transaction(ALIAS):
            assert len(fetch_rows(ALIAS, rate_counters.COUNT, build_count_parameters((full, 1, False)))) == 1
            later = pool.submit(count_in_thread)
            eventually(lambda: fetch_rows(ALIAS, _IS_WAITING_SQL))
        return later.result()


def test_a_request_that_is_refused_at_the_last_moment_takes_no_quota_of_failures():
    """The quota was free when the statement began."""
    full, failures = unique_key(), unique_key()
    parameters = build_count_parameters((full, 1, False), (failures, 9, True))
    assert race_for_last_hit(full, lambda: fetch_rows(ALIAS, rate_counters.COUNT, parameters)) == []


def test_a_request_that_is_refused_at_the_last_moment_is_counted_by_no_key():
    first, full, failures = f"0{unique_key()}", f"1{unique_key()}", unique_key()
    requests, attempts = {first: Quota(9, 60), full: Quota(1, 60)}, {failures: Quota(9, 60)}
    answer = race_for_last_hit(full, lambda: rate_counters.count(ALIAS, requests, attempts))
    assert (answer.hits, answer.waits.keys(), answer.is_busy) == ({}, {full}, False)
    sql = "SELECT subject FROM shop_ratelimit WHERE subject = ANY(%s) AND cardinality(hits || attempts) > 0"
    assert fetch_rows(ALIAS, sql, [[first, full, failures]]) == [(full,)]


# pg_stat_activity would be read once in the transaction.
_IS_WAITING_SQL = "SELECT 1 FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"


def test_without_limits_nothing_is_counted(limits):
    for name, value in (("RATE_LIMIT_CARTS", "off"), ("RATE_LIMITS", False)):
        setattr(limits, name, value)
        unlimited = limiter(unique_key())
        unlimited.count()
        assert (unlimited.counters, unlimited.build_headers()) == ({}, {})


def test_the_headers_say_what_is_left_of_the_scarcest_quota(limits):
    limits.RATE_LIMIT_CARTS = "address:10/minute,email:2/hour"
    address, email = unique_key(), unique_key()
    used = limiter(address, email=email)
    used.count()
    assert used.build_headers() == {"RateLimit-Policy": '"carts";q=2;w=3600', "RateLimit": '"carts";r=1;t=3600'}
    limiter(address, email=email).count()
    refused = limiter(address, email=email)
    with pytest.raises(TooManyRequests):
        refused.count()
    assert refused.build_headers()["RateLimit"].startswith('"carts";r=0;t=3')


def test_a_new_quota_holds_for_existing_counters(limits):
    address = unique_key()
    assert all(is_accepted(address) for _ in range(3))
    limits.RATE_LIMIT_CARTS = "5/minute"
    assert [is_accepted(address) for _ in range(3)] == [True, True, False]
    limits.RATE_LIMIT_CARTS = "2/second"
    assert wait_of(address) == 1


def test_counting_inside_a_transaction_is_an_error():
    with transaction(ALIAS), pytest.raises(InTransaction):
        limiter(unique_key()).count()


def test_the_purge_deletes_expired_counters_only():
    expired, current = unique_key(), unique_key()
    assert is_accepted(expired)
    assert is_accepted(current)
    let_time_pass(expired, 61)
    assert purge_now(ALIAS, list_model_rules(RateLimit)) >= 1
    subjects = [subject for address in (expired, current) for subject in limiter(address).counters]
    left = fetch_rows(ALIAS, "SELECT subject FROM shop_ratelimit WHERE subject = ANY(%s)", [subjects])
    assert left == [(subjects[1],)]


def test_stored_keys_reveal_nothing():
    address = "192.0.2.77"
    limiter(address).count()
    assert fetch_rows(ALIAS, "SELECT 1 FROM shop_ratelimit WHERE subject LIKE %s", [f"%{address}%"]) == []


@pytest.mark.parametrize(
    ("email", "same"),
    [
        ("Ada@Example.com", "ada@example.com"),
        ("ada+1@example.com", "ada@example.com"),
        (" ada@example.com", "ada@example.com"),
        ("ada+1@bücher.example", "ada@xn--bcher-kva.example"),
    ],
)
def test_spellings_of_one_mailbox_count_as_one(email, same):
    assert normalize_email(email) == normalize_email(same)


def test_a_request_is_counted_by_network_account_email_and_card():
    class Method:
        provider, token = "sandbox", "tok_1"

    class Body:
        email, payment_method = "Ada+shop@example.com", Method()

    class Guest:
        id = None

    request = RequestFactory().get("/", REMOTE_ADDR="2001:db8:1:2:3::4")
    assert collect_keys(request, Guest(), Body()) == {
        "address": "2001:db8:1:2::/64",
        "email": "ada@example.com",
        "card": "sandbox tok_1",
    }
    request = RequestFactory().get("/", REMOTE_ADDR="::ffff:192.0.2.1")
    assert collect_keys(request, Guest(), None) == {"address": "192.0.2.1"}


@pytest.mark.parametrize(
    ("text", "quotas"),
    [
        ("10/minute", {"": Quota(10, 60)}),
        ("5/10minutes", {"": Quota(5, 600)}),
        ("address:60/minute, email:5/hour", {"address": Quota(60, 60), "email": Quota(5, 3600)}),
        ("100/day,card:1/second", {"": Quota(100, 86400), "card": Quota(1, 1)}),
        ("off", {}),
    ],
)
def test_quotas_are_parsed(text, quotas):
    assert parse_quotas(text) == quotas


@pytest.mark.parametrize(
    "text",
    ["", "10", "ten/minute", "0/minute", "10/fortnight", "phone:1/minute", "1/minute,2/minute", "1/8days", "20000/day"],
)
def test_a_setting_that_is_no_rate_limit_stops_the_start(monkeypatch, text):
    monkeypatch.setenv("RATE_LIMIT_CARTS", text)
    with pytest.raises(ImproperlyConfigured, match="RATE_LIMIT_CARTS cannot be read"):
        read_rate_limit("RATE_LIMIT_CARTS", "10/minute")
