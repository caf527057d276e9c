"""Sign-in throttling per account and per client address. Responses do not reveal which accounts exist."""

import threading
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.auth.hashers import MD5PasswordHasher

from contexts.users.handlers import forget_what_has_run_out
from contexts.users.interface import SignInFailed, users
from contexts.users.service import sign_in_throttle, staff
from shop.db.database import execute, fetch_rows
from shop.errors import TooManyRequests
from tests.concurrency import repeat_concurrently
from tests.users.accounts import Person, problem_of, register, register_person, sign_in, unique_email, unique_ip_address

LIMIT = sign_in_throttle.MAX_ATTEMPTS_BY_KIND["account"]
WRONG = "not the password"
FAILED, TOO_MANY = (401, "users.sign_in_failed"), (429, "shop.too_many_requests")


class CountingHasher(MD5PasswordHasher):
    """Logs each computed hash to a file, so that hashes of all processes are counted."""

    algorithm = "counting"

    def encode(self, password: str, salt: str) -> str:
        with open(settings.COMPUTED_HASHES, "a") as file:
            file.write(f"{salt}\n")
        return super().encode(password, salt)


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
    settings.PASSWORD_HASHERS = [f"{__name__}.CountingHasher"]
    return HashLog(tmp_path / "hashes")


def unregistered_person() -> Person:
    return Person(id=None, email=unique_email())


def expire_attempts(address: str = "", email: str = "") -> None:
    for subject in sign_in_throttle.build_throttle_keys(account=email, address=address).values():
        execute(
            "users", "UPDATE users_signinattempts SET began_at = now() - interval '6 min' WHERE subject = %s", [subject]
        )


def test_a_burst_of_guesses_is_checked_up_to_the_limit(hashes):
    person, address = register_person(), unique_ip_address()
    hashes.clear()
    responses = repeat_concurrently(100, lambda _: problem_of(sign_in(person, WRONG, REMOTE_ADDR=address)))
    assert (responses.count(FAILED), responses.count(TOO_MANY)) == (LIMIT, 100 - LIMIT)
    assert len(hashes) == LIMIT


def test_control_a_counter_read_before_writing_allows_the_whole_burst():
    """Negative control of the burst: all attempts read the counter before the first one writes it."""
    subject = sign_in_throttle.build_throttle_keys(account=unique_email(), address="")["account"]
    all_have_read = threading.Barrier(30)

    def is_checked(_: int) -> bool:
        [(count,)] = fetch_rows(
            "users", "SELECT coalesce(max(count), 0) FROM users_signinattempts WHERE subject = %s", [subject]
        )
        all_have_read.wait()
        execute(
            "users",
            """INSERT INTO users_signinattempts (subject, count) VALUES (%s, 1)
               ON CONFLICT (subject) DO UPDATE SET count = %s""",
            [subject, count + 1],
        )
        return count < LIMIT

    assert sum(repeat_concurrently(30, is_checked)) == 30 > LIMIT


def test_the_right_password_is_refused_at_the_limit_and_accepted_after_the_window():
    person = register_person()
    for _ in range(LIMIT):
        assert problem_of(sign_in(person, WRONG, REMOTE_ADDR=unique_ip_address())) == FAILED
    response = sign_in(person, REMOTE_ADDR=unique_ip_address())
    assert problem_of(response) == TOO_MANY
    assert 0 < int(response.headers["Retry-After"]) <= sign_in_throttle.ATTEMPT_WINDOW.total_seconds()
    assert response.json()["facts"] == {"retry_after": int(response.headers["Retry-After"])}
    expire_attempts(email=person.email)
    assert sign_in(person).status_code == 200


def test_forged_headers_do_not_change_the_limit():
    person, address = register_person(), unique_ip_address()
    for number in range(LIMIT):
        forged = {"HTTP_X_FORWARDED_FOR": f"192.0.2.{number}", "HTTP_FORWARDED": f"for=192.0.2.{number}"}
        assert problem_of(sign_in(person, WRONG, REMOTE_ADDR=address, **forged)) == FAILED
    assert problem_of(sign_in(person, WRONG, REMOTE_ADDR=address, HTTP_X_FORWARDED_FOR="192.0.2.99")) == TOO_MANY


def test_the_spelling_of_an_address_does_not_change_the_limit():
    person = register_person()
    for _ in range(LIMIT):
        sign_in(person, WRONG)
    upper_case = Person(id=person.id, email=f" {person.email.upper()}")
    assert problem_of(sign_in(upper_case, WRONG)) == TOO_MANY


def test_successful_sign_ins_are_not_limited():
    person = register_person()
    assert {sign_in(person).status_code for _ in range(LIMIT * 2)} == {200}


def test_guesses_from_one_address_are_limited_over_all_accounts():
    address, limit = unique_ip_address(), sign_in_throttle.MAX_ATTEMPTS_BY_KIND["address"]
    people = [unregistered_person() for _ in range(limit)]
    responses = repeat_concurrently(
        30, lambda n: [problem_of(sign_in(person, WRONG, REMOTE_ADDR=address)) for person in people[n::30]]
    )
    assert {response for batch in responses for response in batch} == {FAILED}
    innocent = register_person()
    assert problem_of(sign_in(innocent, REMOTE_ADDR=address)) == TOO_MANY
    assert sign_in(innocent, REMOTE_ADDR=unique_ip_address()).status_code == 200
    expire_attempts(address=address)
    assert sign_in(innocent, REMOTE_ADDR=address).status_code == 200


def test_the_addresses_of_one_ipv6_network_count_as_one():
    one, same, other = (
        sign_in_throttle.build_throttle_keys(account="", address=address)["address"]
        for address in ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:db8:1:3::1")
    )
    assert one == same != other


def test_staff_sign_in_is_limited_too():
    email = unique_email()
    for _ in range(LIMIT):
        with pytest.raises(SignInFailed):
            users.sign_in_staff(email=email, password=WRONG)
    with pytest.raises(TooManyRequests):
        users.sign_in_staff(email=email, password=WRONG)


def test_known_unknown_and_disabled_addresses_get_the_same_response_at_the_same_cost(hashes):
    known, disabled = register_person(), register_person()
    staff.disable(disabled.id, actor="test")
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


def test_the_timer_deletes_expired_windows_only():
    expired, current = unregistered_person(), unregistered_person()
    sign_in(expired, WRONG)
    sign_in(current, WRONG)
    expire_attempts(email=expired.email)
    forget_what_has_run_out()
    assert (count_windows(expired), count_windows(current)) == (0, 1)


def count_windows(person: Person) -> int:
    subject = sign_in_throttle.build_throttle_keys(account=person.email, address="")["account"]
    [(count,)] = fetch_rows("users", "SELECT count(*) FROM users_signinattempts WHERE subject = %s", [subject])
    return count
