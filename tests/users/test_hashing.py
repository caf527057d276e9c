"""Passwords are hashed a few at a time, whichever way their requests come."""

import threading

import pytest
from django.conf import settings as present_settings
from django.contrib.auth.hashers import MD5PasswordHasher, make_password

from contexts.users.service import hashing, sessions
from contexts.users.service.sign_in_throttle import SignInThrottle
from shop.calls import services
from shop.db.database import fetch_rows
from shop.errors import Overloaded
from tests.concurrency import eventually, run_concurrently
from tests.posts import find_unknown_posts
from tests.users.accounts import PASSWORD, unique_email, unique_ip_address

JOIN_SECONDS = 0.3  # in which another password would be hashed, too, if the number were not limited


class CountingHasher(MD5PasswordHasher):
    """Count how many passwords are hashed at the same time, and give others the time to join."""

    algorithm = "counting"
    lock = threading.Condition()
    running = most = 0

    def encode(self, password, salt):
        with self.lock:
            CountingHasher.running += 1
            CountingHasher.most = max(self.most, self.running)
            self.lock.notify_all()
            self.lock.wait_for(lambda: self.running > present_settings.PASSWORD_HASHING_THREADS, JOIN_SECONDS)
            CountingHasher.running -= 1
        return super().encode(password, salt)


class BlockedHasher(MD5PasswordHasher):
    """Hash nothing until the test allows it."""

    algorithm = "blocked"
    may_continue = threading.Event()
    begun: list[str] = []

    def encode(self, password, salt):
        self.begun.append(password)
        self.may_continue.wait()
        return super().encode(password, salt)


def test_no_more_passwords_are_hashed_at_the_same_time_than_the_setting_allows(settings):
    settings.PASSWORD_HASHERS = [f"{__name__}.CountingHasher"]
    hashed = make_password(PASSWORD)
    CountingHasher.most = 0
    run_concurrently(
        *[lambda: hashing.hash_password(PASSWORD)] * 3, *[lambda: hashing.verify_password(PASSWORD, hashed)] * 3
    )
    assert CountingHasher.most == settings.PASSWORD_HASHING_THREADS


@pytest.fixture
def all_slots_taken(settings):
    """Hash as many passwords as the setting allows, until the test has ended."""
    settings.PASSWORD_HASHERS = [f"{__name__}.BlockedHasher"]
    BlockedHasher.may_continue.clear()
    BlockedHasher.begun.clear()
    number = settings.PASSWORD_HASHING_THREADS
    threads = [threading.Thread(target=hashing.hash_password, args=[PASSWORD]) for _ in range(number)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(BlockedHasher.begun) == number)
    yield
    BlockedHasher.may_continue.set()
    for thread in threads:
        thread.join()


def test_a_sign_in_that_is_not_checked_in_time_is_refused_and_not_counted(all_slots_taken):
    email, address = unique_email(), unique_ip_address()
    with pytest.raises(Overloaded) as refused:
        sessions.sign_in(email=email, password=PASSWORD, address=address)
    assert (refused.value.status, refused.value.code, refused.value.retry_after) == (503, "shop.overloaded", 1)
    throttle = SignInThrottle(account=email, address=address, entrance="public")
    subjects = [throttle.pair, throttle.account]
    counted = fetch_rows("users", "SELECT count FROM users_signinattempts WHERE subject = ANY(%s)", [subjects])
    assert counted == [(0,), (0,)]


def test_the_requests_with_a_queue_of_their_own_exist(settings):
    assert find_unknown_posts(settings.PASSWORD_PATHS) == []
    assert find_unknown_posts(["/api/v1/auth/registration"]) == ["/api/v1/auth/registration"]
    assert set(settings.PASSWORD_CALLS) <= {method.name for method in services.get_interfaces()["users"]}
