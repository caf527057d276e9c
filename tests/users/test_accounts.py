"""Registering, and one's own profile."""

import secrets
import uuid

import pytest
from django.db import IntegrityError

from contexts.users.interface import Profile, users
from shop.database import changed, rows
from tests.browser import Client
from tests.threads import crowd
from tests.users.people import (
    PASSWORD,
    code,
    fresh_email,
    post,
    refresh,
    register,
    send,
    sign_in,
    somebody,
    tokens,
)


def announced(user_id: uuid.UUID) -> list[tuple[str, int]]:
    stream = f"users.user:{user_id}"
    return rows("users", "SELECT name, sequence FROM shop_outboxevent WHERE stream = %s", [stream])


def test_registers_signs_in_and_shows_the_profile():
    email = fresh_email()
    answer = register(email=email, full_name="Mina Orange")
    assert answer.status_code == 201
    assert answer.json() == {"id": answer.json()["id"], "email": email, "full_name": "Mina Orange"}

    signed_in = post("auth/token", {"email": email, "password": PASSWORD})
    assert signed_in.status_code == 200
    assert set(signed_in.json()) == {"access", "refresh"}
    assert signed_in.headers["Cache-Control"] == "no-store"
    me = send("get", "users/me", token=signed_in.json()["access"])
    assert (me.status_code, me.json()) == (200, answer.json())


def test_changes_the_name_and_nothing_else():
    person = somebody()
    access, _ = tokens(person)
    body = {"full_name": "  Mina   Mandarin ", "email": fresh_email(), "permissions": ["*"], "is_active": False}
    expected = {"id": str(person.id), "email": person.email, "full_name": "Mina Mandarin"}
    assert send("patch", "users/me", body, token=access).json() == expected
    assert send("patch", "users/me", {}, token=access).json() == expected
    assert send("get", "users/me", token=access).json() == expected
    assert rows("users", "SELECT permissions, is_active FROM users_user WHERE id = %s", [person.id]) == [([], True)]


def test_announces_a_registration_once():
    email = fresh_email()
    person = somebody(email=email)
    register(email=email)
    assert announced(person.id) == [("users.user_registered", 1)]


def test_a_taken_address_is_refused_however_it_is_written():
    email = f"anna.{uuid.uuid4().hex}@example.com"
    somebody(email=email)
    wide = "".join(chr(ord(letter) + 0xFEE0) if letter.isalnum() else letter for letter in email)
    for written in (email, email.upper(), f" {email} ", f"{email}\n", wide):
        assert code(register(email=written)) == (409, "users.email_taken"), written


def test_the_canonical_address_signs_in_however_it_is_written():
    person = somebody(email=f"Anna.{uuid.uuid4().hex}@EXAMPLE.com")
    assert person.email == person.email.lower()
    for written in (person.email.upper(), f" {person.email}"):
        assert post("auth/token", {"email": written, "password": PASSWORD}).status_code == 200


def test_of_many_who_register_one_address_at_once_one_succeeds():
    email = fresh_email()
    answers = crowd(10, lambda n: register(email=email.upper() if n % 2 else email).status_code)
    assert sorted(answers) == [201] + [409] * 9


def test_without_its_constraints_the_table_would_hold_the_same_address_twice():
    """The control: what refuses a second row is the index, and what makes the two spellings one is the check."""
    copy = f"copy_{uuid.uuid4().hex}"
    changed("users", f"CREATE TABLE {copy} (LIKE users_user INCLUDING DEFAULTS)")
    person = somebody()
    write = "INSERT INTO {} SELECT * FROM users_user WHERE id = %s"
    assert [changed("users", write.format(copy), [person.id]) for _ in range(2)] == [1, 1]
    with pytest.raises(IntegrityError, match="email"):
        changed(
            "users",
            """INSERT INTO users_user (id, email, full_name, password, permissions, is_active, sequence)
               SELECT gen_random_uuid(), email, '', '', '{}', true, 1 FROM users_user WHERE id = %s""",
            [person.id],
        )
    with pytest.raises(IntegrityError, match="email_is_lower_case"):
        changed("users", "UPDATE users_user SET email = upper(email) WHERE id = %s", [person.id])
    changed("users", f"DROP TABLE {copy}")


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("yuzu 7", "at least 10 characters"),
        ("password123", "too common"),
        ("kumquat.grower@example.com", "too similar to the email"),
    ],
)
def test_a_weak_password_is_refused_with_the_reason(password, why):
    answer = register(email="kumquat.grower@example.com", password=password)
    assert code(answer) == (400, "users.weak_password")
    assert why in answer.json()["detail"]
    assert password not in answer.json()["detail"]


BAD_BODIES = {
    "no JSON": b"{",
    "nothing": b"",
    "a list": b"[]",
    "an empty object": b"{}",
    "NUL, escaped": b'{"email": "a@example.com", "password": "long enough \\u0000", "full_name": "A"}',
    "NUL, raw": b'{"email": "a@example.com", "password": "long enough \x00", "full_name": "A"}',
    "a lone surrogate": b'{"email": "a@example.com", "password": "long enough \\ud800", "full_name": "A"}',
    "no UTF-8": b'{"email": "a@example.com", "password": "long enough \xff", "full_name": "A"}',
    "numbers": b'{"email": 1, "password": 2, "full_name": 3}',
    "nulls": b'{"email": null, "password": null, "full_name": null}',
    "objects": b'{"email": {}, "password": [], "full_name": {"a": 1}}',
    "a huge password": b'{"email": "a@example.com", "password": "' + b"A" * 500_000 + b'", "full_name": "A"}',
    "a huge address": b'{"email": "' + b"a" * 500_000 + b'@example.com", "password": "long enough", "full_name": "A"}',
    "deep nesting": b'{"email": ' + b"[" * 100_000,
}
BAD_NAMES = {
    "a huge name": b'{"email": "a@example.com", "password": "long enough", "full_name": "' + b"A" * 500_000 + b'"}',
    "a line break in the name": b'{"email": "a@example.com", "password": "long enough", "full_name": "A\\r\\nBcc: b"}',
    "a blank name": b'{"email": "a@example.com", "password": "long enough", "full_name": "  "}',
}


@pytest.mark.parametrize("path", ["auth/register", "auth/token", "auth/token/refresh", "auth/logout"])
@pytest.mark.parametrize("kind", BAD_BODIES)
def test_a_malformed_body_is_a_bad_request(path, kind):
    assert code(post(path, BAD_BODIES[kind])) == (400, "shop.bad_body")


@pytest.mark.parametrize("kind", BAD_NAMES)
def test_a_name_that_would_not_fit_into_a_mail_header_is_refused(kind):
    assert code(post("auth/register", BAD_NAMES[kind])) == (400, "shop.bad_body")


def test_a_body_above_the_limit_is_too_large():
    assert code(post("auth/register", b'"' + b"A" * 2_000_000 + b'"')) == (413, "shop.too_large")


@pytest.mark.parametrize(
    "email",
    [
        "nobody", "a@b", "@example.com", "a@example.com@example.com", "a b@example.com", "a@exa mple.com", "a@localhost",
        '"a b"@example.com', "a\r\nBcc:b@example.com", "<a>@example.com", "a\u00a8b@example.com",
        "a\uff20b@example.com", "\ufdfa" * 15 + "@example.com", "a" * 250 + "@b.c", "\u202ea@example.com",
    ],
)  # fmt: skip
def test_an_address_that_no_mail_reaches_is_refused(email):
    assert code(register(email=email))[0] == 400
    assert code(post("auth/token", {"email": email, "password": PASSWORD}))[0] in (400, 401)


def test_a_retried_registration_with_a_key_is_one_registration():
    key = uuid.uuid4().hex
    body = {"email": fresh_email(), "password": PASSWORD, "full_name": "Mina Orange"}
    first, again = (post("auth/register", body, HTTP_IDEMPOTENCY_KEY=key) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.content == again.content
    other = post("auth/register", body | {"password": "another walk in there"}, HTTP_IDEMPOTENCY_KEY=key)
    assert code(other) == (422, "shop.idempotency_key_reused")


def test_no_password_and_no_refresh_token_is_stored_anywhere():
    canary = "".join(secrets.choice("ghijknqrstuvwyz") for _ in range(32))  # not too similar to the address
    body = {"email": fresh_email(), "password": canary, "full_name": "Mina Orange"}
    assert post("auth/register", body, HTTP_IDEMPOTENCY_KEY=uuid.uuid4().hex).status_code == 201
    pair = post("auth/token", body).json()
    pair = refresh(pair["refresh"]).json()
    assert holding(canary) == holding(pair["refresh"]) == []
    assert holding(body["email"]) != []  # the control: what is stored is found


def holding(text: str) -> list[str]:
    """The tables of users' database that hold a text in any column."""
    tables = rows("users", "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    found = "SELECT 1 FROM {} AS row WHERE strpos(to_jsonb(row)::text, %s) > 0 OR strpos(to_jsonb(row)::text, %s) > 0"
    hexed = text.encode().hex()  # how a binary column looks
    return [table for (table,) in tables if rows("users", found.format(table) + " LIMIT 1", [text, hexed])]


def test_other_contexts_are_told_who_somebody_is():
    one, two = somebody(full_name="One"), somebody(full_name="Two")
    found = users.profiles(user_ids=(one.id, two.id, uuid.uuid4()))
    assert sorted(found, key=lambda profile: profile.full_name) == [
        Profile(id=one.id, email=one.email, full_name="One"),
        Profile(id=two.id, email=two.email, full_name="Two"),
    ]
    assert users.profiles(user_ids=()) == ()


def test_signing_in_ignores_an_outdated_token_that_comes_along():
    person = somebody()
    assert sign_in(person, token="outdated").status_code == 200


@pytest.mark.parametrize("path", ["auth/register", "auth/token", "auth/token/refresh", "auth/logout", "users/me"])
def test_other_methods_are_refused_as_a_problem(path):
    assert code(Client().delete(f"/api/v1/{path}")) == (405, "shop.method_not_allowed")


def test_publishes_the_keys_that_verify_access_tokens():
    answer = Client().get("/.well-known/jwks.json")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert "max-age" in answer.headers["Cache-Control"]
    [key] = answer.json()["keys"]
    assert {name: key[name] for name in ("kty", "crv", "alg", "use")} == {
        "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig",
    }  # fmt: skip
    assert "d" not in key  # the private half
