"""Sign-in throttling: growing delays for one client, no lock of an account. Responses do not reveal which accounts exist."""

import math
import threading
import time
from pathlib import Path

import pytest
from django.conf import settings

from contexts.users.interface import SignInFailed, users
from contexts.users.models import ATTEMPT_RETENTION
from contexts.users.service import staff
from contexts.users.service.sign_in_throttle import (
    MAX_ATTEMPTS_ON_ACCOUNT,
    Entrance,
    SignInThrottle,
)
from shop.db.database import execute, fetch_rows
from shop.errors import TooManyRequests
from shop.purging import purge_now
from tests.concurrency import repeat_concurrently
from tests.http_client import Client
from tests.users.accounts import (
    PASSWORD,
    Person,
    problem_of,
    register,
    register_person,
    sign_in,
    unique_email,
    unique_ip_address,
)
from tests.users.test_staff import can_open_admin, sign_in_to_admin, staff_member

FREE = settings.SIGN_IN_FREE_ATTEMPTS
WRONG = "not the password"
FAILED, TOO_MANY = (401, "users.sign_in_failed"), (429, "shop.too_many_requests")


class HashLog:
    """The log of computed hashes."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.clear()

    def clear(self) -> None:
        self.file.write_text("")

    def __len__(self) -> int:
        return len(self.file.read_text().splitlines())


@pytest.fixture
def hashes(settings, tmp_path):
    settings.COMPUTED_HASHES = str(tmp_path / "hashes")
    settings.PASSWORD_HASHERS = ["tests.users.counting_hasher.CountingHasher"]
    return HashLog(tmp_path / "hashes")


def unregistered_person() -> Person:
    return Person(id=None, email=unique_email())


def subjects_of(person: Person, address: str = "127.0.0.1", entrance: Entrance = "public") -> SignInThrottle:
    return SignInThrottle(account=person.email, address=address, entrance=entrance)


def backdate(subject: str, seconds: float) -> None:
    """Let time pass for one counter."""
    sql = "UPDATE users_signinattempts SET began_at = began_at - %s * interval '1 second' WHERE subject = %s"
    assert execute("users", sql, [seconds, subject]) == 1


def count_of(subject: str) -> int:
    sql = "SELECT coalesce(max(count), 0) FROM users_signinattempts WHERE subject = %s"
    [(count,)] = fetch_rows("users", sql, [subject])
    return count


def fail(person: Person, attempts: int, address: str) -> None:
    for _ in range(attempts):
        assert problem_of(sign_in(person, WRONG, REMOTE_ADDR=address)) == FAILED


def test_a_burst_of_guesses_is_checked_up_to_the_free_attempts(hashes):
    person, address = register_person(), unique_ip_address()
    hashes.clear()
    began = time.monotonic()
    responses = repeat_concurrently(100, lambda _: problem_of(sign_in(person, WRONG, REMOTE_ADDR=address)))
    delays_that_ended = int(
        math.log2(time.monotonic() - began + 1)
    )  # of 1, 2, 4 s and so on: none, but on a busy machine
    assert FREE <= responses.count(FAILED) <= FREE + delays_that_ended
    assert responses.count(FAILED) + responses.count(TOO_MANY) == 100
    assert len(hashes) == responses.count(FAILED)


def test_control_a_counter_read_before_writing_allows_the_whole_burst():
    """Negative control of the burst: all attempts read the counter before the first one writes it."""
    subject = subjects_of(unregistered_person()).pair
    all_have_read = threading.Barrier(30)

    def is_checked(_: int) -> bool:
        count = count_of(subject)
        all_have_read.wait()
        execute(
            "users",
            """INSERT INTO users_signinattempts (subject, count) VALUES (%s, 1)
               ON CONFLICT (subject) DO UPDATE SET count = %s""",
            [subject, count + 1],
        )
        return count < FREE

    assert sum(repeat_concurrently(30, is_checked)) == 30 > FREE


def test_wrong_passwords_do_not_lock_the_right_one_of_another_client_out():
    person, attacker, owner = register_person(), unique_ip_address(), unique_ip_address()
    fail(person, FREE, attacker)
    assert problem_of(sign_in(person, WRONG, REMOTE_ADDR=attacker)) == TOO_MANY
    assert sign_in(person, REMOTE_ADDR=owner).status_code == 200


def test_the_right_password_of_the_same_client_is_delayed_not_locked():
    person, address = register_person(), unique_ip_address()
    fail(person, FREE, address)
    response = sign_in(person, REMOTE_ADDR=address)
    assert problem_of(response) == TOO_MANY
    assert (response.headers["Retry-After"], response.json()["facts"]) == ("1", {"retry_after": 1})
    assert response.headers["RateLimit-Policy"] == '"sign_in_delay";q=1;w=1'
    assert response.headers["RateLimit"] == '"sign_in_delay";r=0;t=1'
    backdate(subjects_of(person, address).pair, 1)
    assert sign_in(person, REMOTE_ADDR=address).status_code == 200


def test_each_further_wrong_password_doubles_the_delay(settings):
    settings.SIGN_IN_MAX_DELAY_SECONDS = 10
    person, address, delays = register_person(), unique_ip_address(), []
    fail(person, FREE - 1, address)
    for _ in range(5):
        fail(person, 1, address)
        delays.append(int(sign_in(person, WRONG, REMOTE_ADDR=address).headers["Retry-After"]))
        backdate(subjects_of(person, address).pair, delays[-1])
    assert delays == [1, 2, 4, 8, 10]


def test_an_attempt_during_the_delay_does_not_prolong_it():
    person, address = register_person(), unique_ip_address()
    fail(person, FREE, address)
    for _ in range(5):
        assert problem_of(sign_in(person, WRONG, REMOTE_ADDR=address)) == TOO_MANY
    assert count_of(subjects_of(person, address).pair) == FREE


def test_the_right_password_forgets_the_wrong_ones():
    person, address = register_person(), unique_ip_address()
    fail(person, FREE - 1, address)
    assert sign_in(person, REMOTE_ADDR=address).status_code == 200
    fail(person, FREE, address)


def test_an_account_under_attack_accepts_the_right_password_of_clients_without_a_mistake():
    """Guesses from many addresses: each address gets one, and the account's owner is not affected."""
    person, guesser = register_person(), unique_ip_address()
    fail(person, 1, unique_ip_address())
    subject = subjects_of(person).account
    execute(
        "users", "UPDATE users_signinattempts SET count = %s WHERE subject = %s", [MAX_ATTEMPTS_ON_ACCOUNT, subject]
    )
    fail(person, 1, guesser)
    assert problem_of(sign_in(person, REMOTE_ADDR=guesser)) == TOO_MANY
    assert sign_in(person, REMOTE_ADDR=unique_ip_address()).status_code == 200
    assert count_of(subject) == MAX_ATTEMPTS_ON_ACCOUNT + 1


def test_forged_headers_do_not_change_the_delay():
    person, address = register_person(), unique_ip_address()
    for number in range(FREE):
        forged = {"HTTP_X_FORWARDED_FOR": f"192.0.2.{number}", "HTTP_FORWARDED": f"for=192.0.2.{number}"}
        assert problem_of(sign_in(person, WRONG, REMOTE_ADDR=address, **forged)) == FAILED
    assert problem_of(sign_in(person, WRONG, REMOTE_ADDR=address, HTTP_X_FORWARDED_FOR="192.0.2.99")) == TOO_MANY


def test_the_spelling_of_an_address_does_not_change_the_delay():
    person, address = register_person(), unique_ip_address()
    fail(person, FREE, address)
    upper_case = Person(id=person.id, email=f" {person.email.upper()}")
    assert problem_of(sign_in(upper_case, WRONG, REMOTE_ADDR=address)) == TOO_MANY


def test_successful_sign_ins_are_not_limited(settings):
    settings.RATE_LIMITS, settings.RATE_LIMIT_SIGN_IN = True, "address:10/5minutes"
    person, address = register_person(), unique_ip_address()
    assert {sign_in(person, REMOTE_ADDR=address).status_code for _ in range(FREE * 2)} == {200}


def test_guesses_from_one_address_are_limited_over_all_accounts(settings):
    settings.RATE_LIMITS, settings.RATE_LIMIT_SIGN_IN = True, "address:60/5minutes"
    address, people = unique_ip_address(), [unregistered_person() for _ in range(90)]
    responses = repeat_concurrently(
        30, lambda n: [problem_of(sign_in(person, WRONG, REMOTE_ADDR=address)) for person in people[n::30]]
    )
    outcomes = [response for batch in responses for response in batch]
    assert (outcomes.count(FAILED), outcomes.count(TOO_MANY)) == (60, 30)
    innocent = register_person()
    response = sign_in(innocent, REMOTE_ADDR=address)
    assert problem_of(response) == TOO_MANY
    assert 0 < int(response.headers["Retry-After"]) <= 300
    assert response.headers["RateLimit-Policy"] == '"sign_in";q=60;w=300'
    assert response.headers["RateLimit"].startswith('"sign_in";r=0;t=')
    assert sign_in(innocent, REMOTE_ADDR=unique_ip_address()).status_code == 200


def test_the_response_to_a_wrong_password_states_what_is_left_to_its_address(settings):
    settings.RATE_LIMITS, settings.RATE_LIMIT_SIGN_IN = True, "address:60/5minutes"
    address, person = unique_ip_address(), register_person()
    headers = [sign_in(person, WRONG, REMOTE_ADDR=address).headers["RateLimit"] for _ in range(3)]
    assert [text.partition(";t=")[0] for text in headers] == [f'"sign_in";r={left}' for left in (59, 58, 57)]


def test_refused_refreshes_have_the_headers_of_a_rate_limit(settings):
    settings.RATE_LIMITS, settings.RATE_LIMIT_REFRESH = True, "address:1/minute"
    address, tokens = unique_ip_address(), sign_in(register_person()).json()
    body = {"refresh": tokens["refresh"]}
    for status, left in ((200, 0), (429, 0)):
        options = {"content_type": "application/json", "REMOTE_ADDR": address}
        response = Client().post("/api/v1/auth/token/refresh", body, **options)
        assert response.status_code == status
        assert response.headers["RateLimit-Policy"] == '"refresh";q=1;w=60'
        assert response.headers["RateLimit"].startswith(f'"refresh";r={left};t=')


def test_the_addresses_of_one_ipv6_network_count_as_one():
    person = register_person()
    fail(person, FREE, "2001:db8:1:2::1")
    assert problem_of(sign_in(person, REMOTE_ADDR="2001:db8:1:2:ffff::9")) == TOO_MANY
    assert sign_in(person, REMOTE_ADDR="2001:db8:1:3::1").status_code == 200


def test_staff_sign_in_is_delayed_too():
    email, address = unique_email(), unique_ip_address()
    for _ in range(FREE):
        with pytest.raises(SignInFailed):
            users.sign_in_staff(email=email, password=WRONG, address=address)
    with pytest.raises(TooManyRequests):
        users.sign_in_staff(email=email, password=WRONG, address=address)


def test_a_delayed_sign_in_to_the_admin_is_429_with_retry_after():
    form, address = {"username": unique_email(), "password": WRONG}, unique_ip_address()
    responses = [Client().post("/admin/login/", form, REMOTE_ADDR=address) for _ in range(FREE + 1)]
    assert [response.status_code for response in responses] == [200] * FREE + [429]
    assert int(responses[-1].headers["Retry-After"]) >= 1
    assert "try again in" in responses[-1].content.decode()


def test_wrong_public_sign_ins_do_not_delay_staff_in_the_admin():
    manager = staff_member()
    fail(manager, FREE, "127.0.0.1")
    assert problem_of(sign_in(manager, WRONG, REMOTE_ADDR="127.0.0.1")) == TOO_MANY
    assert can_open_admin(sign_in_to_admin(manager))


def test_wrong_sign_ins_to_the_admin_delay_neither_other_clients_nor_the_public_api():
    manager, attacker = staff_member(), unique_ip_address()
    for _ in range(FREE + 5):
        client = Client(REMOTE_ADDR=attacker)
        client.post("/admin/login/", {"username": manager.email, "password": WRONG})
    page = client.post("/admin/login/", {"username": manager.email, "password": PASSWORD})
    assert "try again in 1 second." in page.content.decode()
    assert can_open_admin(sign_in_to_admin(manager))
    assert sign_in(manager, REMOTE_ADDR=attacker).status_code == 200


def test_the_admin_does_not_help_to_guess_the_password_of_a_customer():
    """A customer's right password counts there like a wrong one."""
    customer, address = register_person(), unique_ip_address()
    for _ in range(FREE):
        with pytest.raises(SignInFailed):
            users.sign_in_staff(email=customer.email, password=PASSWORD, address=address)
    assert count_of(subjects_of(customer, address, "staff").pair) == FREE


def test_known_unknown_and_disabled_addresses_get_the_same_response_at_the_same_cost(hashes):
    known, disabled = register_person(), register_person()
    staff.disable(disabled.id, actor=staff.as_operator("test"))
    outcomes = []
    for person, password in (
        (known, WRONG),
        (unregistered_person(), WRONG),
        (disabled, WRONG),
        (disabled, disabled.password),
    ):
        hashes.clear()
        problem = sign_in(person, password).json()
        problem.pop("request_id")
        outcomes.append((problem, len(hashes)))
    assert outcomes == [(outcomes[0][0], 1)] * 4


def test_registering_a_taken_address_costs_as_much_as_a_free_one(hashes):
    taken, costs = register_person().email, []
    for email in (taken, unique_email()):
        hashes.clear()
        register(email=email)
        costs.append(len(hashes))
    assert costs == [1, 1]


def test_a_purge_deletes_expired_counters_only():
    expired, current, address = unregistered_person(), unregistered_person(), unique_ip_address()
    fail(expired, 1, address)
    fail(current, 1, address)
    backdate(subjects_of(expired, address).pair, ATTEMPT_RETENTION.total_seconds() + 1)
    purge_now("users")
    assert [count_of(subjects_of(person, address).pair) for person in (expired, current)] == [0, 1]
