"""Registration and the own profile."""

import secrets
import uuid
from importlib import import_module

import pytest
from django.apps import apps
from django.db import IntegrityError, connections

from contexts.users.interface import Profile, users
from shop.db.database import execute, fetch_rows
from tests.concurrency import repeat_concurrently
from tests.http_client import Client
from tests.users.accounts import (
    PASSWORD,
    issue_tokens,
    post,
    problem_of,
    refresh,
    register,
    register_person,
    send,
    sign_in,
    unique_email,
)


def published_events(user_id: uuid.UUID) -> list[tuple[str, int]]:
    stream = f"users.user:{user_id}"
    return fetch_rows("users", "SELECT name, sequence FROM shop_outboxevent WHERE stream = %s", [stream])


def test_a_customer_registers_signs_in_and_reads_the_profile():
    email = unique_email()
    response = register(email=email, full_name="Mina Orange")
    assert response.status_code == 201
    assert response.json() == {"id": response.json()["id"], "email": email, "full_name": "Mina Orange"}

    signed_in = post("auth/token", {"email": email, "password": PASSWORD})
    assert signed_in.status_code == 200
    assert set(signed_in.json()) == {"access", "refresh"}
    assert signed_in.headers["Cache-Control"] == "no-store"
    me = send("get", "users/me", token=signed_in.json()["access"])
    assert (me.status_code, me.json()) == (200, response.json())


def test_only_the_name_can_be_changed():
    person = register_person()
    access, _ = issue_tokens(person)
    refused = {"full_name": "Mina", "email": unique_email(), "permissions": ["*"], "is_active": False}
    problem = send("patch", "users/me", refused, token=access).json()
    assert [fault["pointer"] for fault in problem["errors"]] == ["/email", "/permissions", "/is_active"]
    body = {"full_name": "  Mina   Mandarin "}
    expected = {"id": str(person.id), "email": person.email, "full_name": "Mina Mandarin"}
    assert send("patch", "users/me", body, token=access).json() == expected
    assert send("patch", "users/me", {}, token=access).json() == expected
    assert send("get", "users/me", token=access).json() == expected
    assert fetch_rows("users", "SELECT permissions, is_active FROM users_user WHERE id = %s", [person.id]) == [
        ([], True)
    ]


def test_a_registration_is_published_once():
    email = unique_email()
    person = register_person(email=email)
    register(email=email)
    assert published_events(person.id) == [("users.user_registered", 1)]


def test_spellings_of_an_international_domain_are_one_account():
    tag = uuid.uuid4().hex
    domains = ("münchen.example", "MU\u0308NCHEN。example", "xn--mnchen-3ya.example", "XN--MNCHEN-3YA.example")
    spellings = [f"{tag}@{domain}" for domain in domains]
    assert register(email=spellings[2]).json()["email"] == spellings[0]
    for spelling in spellings:
        assert problem_of(register(email=spelling)) == (409, "users.email_taken"), spelling
        assert post("auth/token", {"email": spelling, "password": PASSWORD}).status_code == 200, spelling


def test_accounts_with_an_encoded_domain_are_respelled_unless_the_other_spelling_is_taken():
    tag = uuid.uuid4().hex
    old = [register_person(), register_person(), register_person()]
    emails = [f"{tag}a@xn--mnchen-3ya.example", f"{tag}b@xn--mnchen-3ya.example", f"{tag}b@münchen.example"]
    for person, email in zip(old, emails, strict=True):
        execute("users", "UPDATE users_user SET email = %s WHERE id = %s", [email, person.id])
    migration = import_module("contexts.users.migrations.0004_international_addresses")
    with connections["users"].schema_editor() as editor:
        migration.normalize_domains(apps, editor)
    sql = "SELECT email FROM users_user WHERE id = %s"
    assert [fetch_rows("users", sql, [person.id]) for person in old] == [
        [(f"{tag}a@münchen.example",)],
        [(emails[1],)],
        [(emails[2],)],
    ]


def test_a_taken_address_is_refused_in_every_spelling():
    email = f"anna.{uuid.uuid4().hex}@example.com"
    register_person(email=email)
    full_width = "".join(chr(ord(char) + 0xFEE0) if char.isalnum() else char for char in email)
    for spelling in (email, email.upper(), f" {email} ", f"{email}\n", full_width):
        assert problem_of(register(email=spelling)) == (409, "users.email_taken"), spelling


def test_every_spelling_of_the_address_signs_in():
    person = register_person(email=f"Anna.{uuid.uuid4().hex}@EXAMPLE.com")
    assert person.email == person.email.lower()
    for spelling in (person.email.upper(), f" {person.email}"):
        assert post("auth/token", {"email": spelling, "password": PASSWORD}).status_code == 200


def test_of_concurrent_registrations_of_one_address_one_succeeds():
    email = unique_email()
    responses = repeat_concurrently(10, lambda n: register(email=email.upper() if n % 2 else email).status_code)
    assert sorted(responses) == [201] + [409] * 9


def test_control_without_constraints_an_address_is_stored_twice():
    """Negative control: the index refuses a second row, and the check refuses another spelling."""
    copy = f"copy_{uuid.uuid4().hex}"
    execute("users", f"CREATE TABLE {copy} (LIKE users_user INCLUDING DEFAULTS)")
    person = register_person()
    insert_copy = "INSERT INTO {} SELECT * FROM users_user WHERE id = %s"
    assert [execute("users", insert_copy.format(copy), [person.id]) for _ in range(2)] == [1, 1]
    with pytest.raises(IntegrityError, match="email"):
        execute(
            "users",
            """INSERT INTO users_user (id, email, full_name, password, permissions, is_active, sequence)
               SELECT gen_random_uuid(), email, '', '', '{}', true, 1 FROM users_user WHERE id = %s""",
            [person.id],
        )
    with pytest.raises(IntegrityError, match="email_is_lower_case"):
        execute("users", "UPDATE users_user SET email = upper(email) WHERE id = %s", [person.id])
    execute("users", f"DROP TABLE {copy}")


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("yuzu 7", "at least 10 characters"),
        ("password123", "too common"),
        ("kumquat.grower@example.com", "too similar to the email"),
    ],
)
def test_a_weak_password_is_refused_with_the_reason(password, why):
    response = register(email="kumquat.grower@example.com", password=password)
    assert problem_of(response) == (400, "users.weak_password")
    assert why in response.json()["detail"]
    assert password not in response.json()["detail"]


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
    assert problem_of(post(path, BAD_BODIES[kind])) == (400, "shop.bad_body")


@pytest.mark.parametrize("kind", BAD_NAMES)
def test_a_name_unfit_for_a_mail_header_is_refused(kind):
    assert problem_of(post("auth/register", BAD_NAMES[kind])) == (400, "shop.bad_body")


def test_a_body_above_the_limit_is_too_large():
    assert problem_of(post("auth/register", b'"' + b"A" * 2_000_000 + b'"')) == (413, "shop.too_large")


@pytest.mark.parametrize(
    "email",
    [
        "nobody", "a@b", "@example.com", "a@example.com@example.com", "a b@example.com", "a@exa mple.com", "a@localhost",
        '"a b"@example.com', "a\r\nBcc:b@example.com", "<a>@example.com", "a\u00a8b@example.com",
        "a\uff20b@example.com", "\ufdfa" * 15 + "@example.com", "a" * 250 + "@b.c", "\u202ea@example.com",
        ".a@example.com", "a.@example.com", "a..b@example.com", "a@-example.com", "a@example..com", "a@10.0.0.17",
    ],
)  # fmt: skip
def test_an_undeliverable_address_is_refused(email):
    assert problem_of(register(email=email))[0] == 400
    assert problem_of(post("auth/token", {"email": email, "password": PASSWORD}))[0] in (400, 401)


@pytest.mark.parametrize("email", ["jörg.{}@example.com", "用户{}@例え.example", "{}@bücher.example"])
def test_an_international_address_can_register_and_sign_in(email):
    email = email.format(uuid.uuid4().hex)
    person = register_person(email=email)
    assert person.email == email
    assert post("auth/token", {"email": email.upper(), "password": PASSWORD}).status_code == 200


SPELLINGS = ("{}@bücher.example", "{}@xn--bcher-kva.example", "{}@BU\u0308CHER.example", "{}@bücher。example")


def test_of_concurrent_registrations_of_two_spellings_one_succeeds():
    name = uuid.uuid4().hex
    responses = repeat_concurrently(8, lambda n: register(email=SPELLINGS[n % 4].format(name)).status_code)
    assert sorted(responses) == [201] + [409] * 7


def test_two_accounts_of_one_address_sign_in_with_their_own_spelling():
    """Before spellings were compared, two of them could be two accounts."""
    name = uuid.uuid4().hex
    international, other = register_person(email=SPELLINGS[0].format(name)), register_person()
    execute("users", "UPDATE users_user SET email = %s WHERE id = %s", [SPELLINGS[1].format(name), other.id])
    for person, spelling in ((international, SPELLINGS[0]), (other, SPELLINGS[1]), (international, SPELLINGS[3])):
        tokens = post("auth/token", {"email": spelling.format(name).upper(), "password": PASSWORD}).json()
        assert send("get", "users/me", token=tokens["access"]).json()["id"] == str(person.id)


def test_a_domain_that_ends_with_a_dot_is_refused():
    for domain in ("bücher.example.", "example.com."):
        assert problem_of(register(email=f"{uuid.uuid4().hex}@{domain}"))[0] == 400


def test_a_retried_registration_with_a_key_is_one_registration():
    key = uuid.uuid4().hex
    body = {"email": unique_email(), "password": PASSWORD, "full_name": "Mina Orange"}
    first, again = (post("auth/register", body, HTTP_IDEMPOTENCY_KEY=key) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.content == again.content
    other = post("auth/register", body | {"password": "another walk in there"}, HTTP_IDEMPOTENCY_KEY=key)
    assert problem_of(other) == (422, "shop.idempotency_key_reused")


def test_no_password_or_refresh_token_is_stored_in_plain_text():
    canary = "".join(secrets.choice("ghijknqrstuvwyz") for _ in range(32))  # not too similar to the address
    body = {"email": unique_email(), "password": canary, "full_name": "Mina Orange"}
    assert post("auth/register", body, HTTP_IDEMPOTENCY_KEY=uuid.uuid4().hex).status_code == 201
    pair = post("auth/token", {"email": body["email"], "password": canary}).json()
    pair = refresh(pair["refresh"]).json()
    assert tables_containing(canary) == tables_containing(pair["refresh"]) == []
    assert tables_containing(body["email"]) != []  # negative control: stored text is found


def tables_containing(text: str) -> list[str]:
    """Return the tables of users' database that contain a text in any column."""
    tables = fetch_rows("users", "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    search = "SELECT 1 FROM {} AS row WHERE strpos(to_jsonb(row)::text, %s) > 0 OR strpos(to_jsonb(row)::text, %s) > 0"
    in_hex = text.encode().hex()  # as a binary column is shown in JSON
    return [table for (table,) in tables if fetch_rows("users", search.format(table) + " LIMIT 1", [text, in_hex])]


def test_other_contexts_can_read_profiles():
    one, two = register_person(full_name="One"), register_person(full_name="Two")
    profiles = users.profiles(user_ids=(one.id, two.id, uuid.uuid4()))
    assert sorted(profiles, key=lambda profile: profile.full_name) == [
        Profile(id=one.id, email=one.email, full_name="One"),
        Profile(id=two.id, email=two.email, full_name="Two"),
    ]
    assert users.profiles(user_ids=()) == ()


def test_signing_in_ignores_an_outdated_token():
    person = register_person()
    assert sign_in(person, token="outdated").status_code == 200


@pytest.mark.parametrize("path", ["auth/register", "auth/token", "auth/token/refresh", "auth/logout", "users/me"])
def test_other_methods_are_refused_as_a_problem(path):
    assert problem_of(Client().delete(f"/api/v1/{path}")) == (405, "shop.method_not_allowed")


def test_the_keys_that_verify_access_tokens_are_published():
    response = Client().get("/.well-known/jwks.json")
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/json"
    assert "max-age" in response.headers["Cache-Control"]
    [key] = response.json()["keys"]
    assert {name: key[name] for name in ("kty", "crv", "alg", "use")} == {
        "kty": "EC",
        "crv": "P-256",
        "alg": "ES256",
        "use": "sig",
    }
    assert "d" not in key  # the private key
