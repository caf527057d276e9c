"""Guessing passwords: counted before they are looked at, by account and by address, and no address is betrayed."""

import threading
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.auth.hashers import MD5PasswordHasher

from contexts.users.handlers import forget_what_has_run_out
from contexts.users.interface import SignInFailed, users
from contexts.users.service import attempts, staff
from shop.database import changed, rows
from shop.errors import TooManyRequests
from tests.threads import crowd
from tests.users.people import Person, code, fresh_address, fresh_email, register, sign_in, somebody

LIMIT = attempts.LIMITS["account"]
WRONG = "not the password"
FAILED, TOO_MANY = (401, "users.sign_in_failed"), (429, "shop.too_many_requests")


class CountingHasher(MD5PasswordHasher):
    """Notes each hash that is computed, in whichever process."""

    algorithm = "counting"

    def encode(self, password: str, salt: str) -> str:
        with open(settings.COMPUTED_HASHES, "a") as file:
            file.write(f"{salt}\n")
        return super().encode(password, salt)


class Hashes:
    """Those that were computed."""

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
    return Hashes(tmp_path / "hashes")


def stranger() -> Person:
    return Person(id=None, email=fresh_email())


def expire(address: str = "", email: str = "") -> None:
    for subject in attempts.subjects(account=email, address=address).values():
        changed(
            "users", "UPDATE users_signinattempts SET began_at = now() - interval '6 min' WHERE subject = %s", [subject]
        )


def test_a_burst_of_guesses_is_evaluated_up_to_the_limit_and_no_further(hashes):
    person, address = somebody(), fresh_address()
    hashes.clear()
    answers = crowd(100, lambda _: code(sign_in(person, WRONG, REMOTE_ADDR=address)))
    assert (answers.count(FAILED), answers.count(TOO_MANY)) == (LIMIT, 100 - LIMIT)
    assert len(hashes) == LIMIT


def test_a_counter_that_is_read_and_then_written_would_let_the_whole_burst_through():
    """The control of the burst: all read before the first one writes."""
    subject = attempts.subjects(account=fresh_email(), address="")["account"]
    read = threading.Barrier(30)

    def evaluated(_: int) -> bool:
        [(count,)] = rows(
            "users", "SELECT coalesce(max(count), 0) FROM users_signinattempts WHERE subject = %s", [subject]
        )
        read.wait()
        changed(
            "users",
            """INSERT INTO users_signinattempts (subject, count) VALUES (%s, 1)
               ON CONFLICT (subject) DO UPDATE SET count = %s""",
            [subject, count + 1],
        )
        return count < LIMIT

    assert sum(crowd(30, evaluated)) == 30 > LIMIT


def test_the_right_password_is_not_looked_at_once_the_limit_is_reached_and_is_after_the_window():
    person = somebody()
    for _ in range(LIMIT):
        assert code(sign_in(person, WRONG, REMOTE_ADDR=fresh_address())) == FAILED
    answer = sign_in(person, REMOTE_ADDR=fresh_address())
    assert code(answer) == TOO_MANY
    assert 0 < int(answer.headers["Retry-After"]) <= attempts.WINDOW.total_seconds()
    assert answer.json()["facts"] == {"retry_after": int(answer.headers["Retry-After"])}
    expire(email=person.email)
    assert sign_in(person).status_code == 200


def test_what_a_client_writes_into_headers_does_not_move_the_limit():
    person, address = somebody(), fresh_address()
    for number in range(LIMIT):
        forged = {"HTTP_X_FORWARDED_FOR": f"192.0.2.{number}", "HTTP_FORWARDED": f"for=192.0.2.{number}"}
        assert code(sign_in(person, WRONG, REMOTE_ADDR=address, **forged)) == FAILED
    assert code(sign_in(person, WRONG, REMOTE_ADDR=address, HTTP_X_FORWARDED_FOR="192.0.2.99")) == TOO_MANY


def test_the_spelling_of_an_address_does_not_move_the_limit():
    person = somebody()
    for _ in range(LIMIT):
        sign_in(person, WRONG)
    shouted = Person(id=person.id, email=f" {person.email.upper()}")
    assert code(sign_in(shouted, WRONG)) == TOO_MANY


def test_signing_in_well_is_not_limited():
    person = somebody()
    assert {sign_in(person).status_code for _ in range(LIMIT * 2)} == {200}


def test_guesses_from_one_address_are_limited_over_all_accounts():
    address, limit = fresh_address(), attempts.LIMITS["address"]
    people = [stranger() for _ in range(limit)]
    answers = crowd(30, lambda n: [code(sign_in(who, WRONG, REMOTE_ADDR=address)) for who in people[n::30]])
    assert {answer for some in answers for answer in some} == {FAILED}
    innocent = somebody()
    assert code(sign_in(innocent, REMOTE_ADDR=address)) == TOO_MANY
    assert sign_in(innocent, REMOTE_ADDR=fresh_address()).status_code == 200
    expire(address=address)
    assert sign_in(innocent, REMOTE_ADDR=address).status_code == 200


def test_the_addresses_of_one_ipv6_network_count_as_one():
    one, same, other = (
        attempts.subjects(account="", address=address)["address"]
        for address in ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:db8:1:3::1")
    )
    assert one == same != other


def test_staff_sign_in_is_limited_too():
    email = fresh_email()
    for _ in range(LIMIT):
        with pytest.raises(SignInFailed):
            users.sign_in_staff(email=email, password=WRONG)
    with pytest.raises(TooManyRequests):
        users.sign_in_staff(email=email, password=WRONG)


def test_known_unknown_and_disabled_addresses_get_the_same_answer_for_the_same_work(hashes):
    known, disabled = somebody(), somebody()
    staff.disable(disabled.id, actor="test")
    seen = []
    for person, password in ((known, WRONG), (stranger(), WRONG), (disabled, WRONG), (disabled, disabled.password)):
        hashes.clear()
        problem = sign_in(person, password).json()
        problem.pop("request_id")
        seen.append((problem, len(hashes)))
    assert seen == [(seen[0][0], 1)] * 4


def test_a_taken_address_costs_a_registration_as_much_as_a_free_one(hashes):
    taken, costs = somebody().email, []
    for email in (taken, fresh_email()):
        hashes.clear()
        register(email=email)
        costs.append(len(hashes))
    assert costs == [1, 1]


def test_the_timer_forgets_windows_that_are_over_only():
    over, running = stranger(), stranger()
    sign_in(over, WRONG)
    sign_in(running, WRONG)
    expire(email=over.email)
    forget_what_has_run_out()
    counted = "SELECT count(*) FROM users_signinattempts WHERE subject = %s"
    left = [
        rows("users", counted, [attempts.subjects(account=person.email, address="")["account"]])
        for person in (over, running)
    ]
    assert left == [[(0,)], [(1,)]]
