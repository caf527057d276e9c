"""Which passwords are accepted, and that a password is checked as it was entered."""

import uuid

import pytest
from django.contrib.auth.hashers import get_hasher
from django.test import override_settings

from shop.db.database import execute, fetch_rows
from tests.config.test_settings import read_settings  # noqa: F401  fixtures
from tests.users.accounts import problem_of, register, register_person, sign_in

# Of one kind of characters each, so that no rule about their composition would accept all of them.
COMPOSITIONS = {
    "lower case": "zebrafinch quarrymoss",
    "upper case": "ZEBRAFINCH QUARRYMOSS",
    "digits": "9041758263 6172839405",
    "signs": "~#:;!&=%()[]<>{}|^_*+",
    "another script": "ζωγραφίζω καράβια χάρτινα",
    "emoji": "🍊🪕🦔🧶🫙🪁🦑🧯🪜🦤🫕🪬",
}


@pytest.mark.parametrize("password", COMPOSITIONS.values(), ids=COMPOSITIONS)
def test_a_password_may_consist_of_any_characters(password):
    letters = uuid.uuid4().hex.translate(str.maketrans("0123456789", "ghijklmnop"))  # like none of the passwords
    person = register_person(password=password, email=f"{letters}@satsuma.example")
    assert sign_in(person, password).status_code == 200


@pytest.mark.parametrize("length", [64, 128, 256])
def test_a_long_password_is_accepted_and_checked_whole(length):
    password = ("plum orchard 7 by the brook; " * 10)[: length - 1] + "K"
    person = register_person(password=password)
    assert sign_in(person, password).status_code == 200
    for other in (password[:-1] + "k", password[:-1], password[: length // 2]):
        assert problem_of(sign_in(person, other)) == (401, "users.sign_in_failed")


def test_a_password_is_checked_as_it_was_entered():
    password = " Crème brûlée  at noon "
    person = register_person(password=password)
    assert sign_in(person, password).status_code == 200
    for other in (password.strip(), password.lower(), password.replace("  ", " "), "Creme brulee  at noon"):
        assert problem_of(sign_in(person, other)) == (401, "users.sign_in_failed"), other


def test_a_password_has_at_least_ten_characters():
    assert problem_of(register(password="vq7xk wmz")) == (400, "users.weak_password")
    assert register(password="vq7xk wmzj").status_code == 201


def test_new_passwords_are_hashed_with_argon2_and_a_salt(read_settings):  # noqa: F811
    """The tests themselves use a fast hasher; this is the one of a shop."""
    hashers = read_settings("s.PASSWORD_HASHERS", PASSWORD_HASHERS=None)
    with override_settings(PASSWORD_HASHERS=hashers):
        hasher = get_hasher()
        one, other = (hasher.encode("a walk in the orchard", hasher.salt()) for _ in range(2))
        assert one != other
        found = hasher.decode(one)
    assert (found["variety"], found["version"]) == ("argon2id", 19)
    assert (found["memory_cost"] >= 47_104, found["time_cost"] >= 1) == (True, True)  # KiB; OWASP, Password Storage
    assert len(found["salt"]) >= 16


def test_a_password_stays_valid_however_old_it_is():
    person = register_person()
    assert execute(
        "users", "UPDATE users_user SET created_at = created_at - interval '9 years' WHERE id = %s", [person.id]
    )
    assert sign_in(person).status_code == 200


def test_a_hash_of_a_former_algorithm_is_replaced_at_the_next_sign_in(settings, in_one_process):
    person = register_person()
    sql = "SELECT password FROM users_user WHERE id = %s"
    [(former,)] = fetch_rows("users", sql, [person.id])
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher", *settings.PASSWORD_HASHERS]
    assert sign_in(person).status_code == 200
    [(present,)] = fetch_rows("users", sql, [person.id])
    assert (former.partition("$")[0], present.partition("$")[0]) == ("md5", "pbkdf2_sha256")
    assert sign_in(person).status_code == 200
