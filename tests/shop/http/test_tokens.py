"""Access tokens: only those that users signed for this shop, of the right kind and not expired, are accepted."""

import base64
import hashlib
import hmac
import json
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from django.conf import settings

from shop.errors import Unauthenticated
from shop.http import tokens
from shop.http.tokens import Caller
from shop.ids import uuid7
from tests.environment import signing_key
from tests.shop.http.signed_tokens import current_key_id, make_claims, sign_token


def test_a_valid_token_identifies_its_caller():
    user_id = uuid7()
    caller = tokens.verify(sign_token(sub=str(user_id), permissions=["orders.view"]))
    assert caller == Caller(user_id, "ada@example.com", frozenset({"orders.view"}))


def part(content):
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=")


def unsigned():
    return (part({"alg": "none", "kid": current_key_id()}) + b"." + part(make_claims()) + b".").decode()


def signed_with_the_public_key():
    """Sign with HMAC and the public key, the RS/HS confusion (RFC 8725, 2.1)."""
    public = json.dumps(settings.JWKS["keys"][0]).encode()
    text = part({"alg": "HS256", "kid": current_key_id()}) + b"." + part(make_claims())
    signature = base64.urlsafe_b64encode(hmac.new(public, text, hashlib.sha256).digest()).rstrip(b"=")
    return (text + b"." + signature).decode()


def edited():
    head, _, signature = sign_token().split(".")
    return f"{head}.{part(make_claims(permissions=['*'])).decode()}.{signature}"


def by_another_key(**header):
    return jwt.encode(make_claims(), signing_key(), "ES256", headers={"kid": current_key_id()} | header)


def own_key_in_the_header():
    mine = ec.generate_private_key(ec.SECP256R1())
    jwk = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(mine.public_key()))
    return jwt.encode(make_claims(), mine, "ES256", headers={"kid": current_key_id(), "jwk": jwk})


def now():
    return int(time.time())


BAD_TOKENS = {
    "nothing": lambda: "",
    "no token": lambda: "x",
    "three dots": lambda: "a.b.c",
    "a NUL": lambda: "a\0.b.c",
    "not ASCII": lambda: "é.é.é",
    "alg none": unsigned,
    "HS256 with the public key": signed_with_the_public_key,
    "edited": edited,
    "another key": by_another_key,
    "another key's address": lambda: by_another_key(jku="https://evil.example/jwks.json"),
    "its own key": own_key_in_the_header,
    "an unknown kid": lambda: sign_token({"kid": "unknown"}),
    "a kid that is a path": lambda: sign_token({"kid": "../../etc/passwd"}),
    "expired": lambda: sign_token(exp=now() - 10),
    "not yet valid": lambda: sign_token(nbf=now() + 100_000),
    "issued in the future": lambda: sign_token(iat=now() + 100_000),
    "issued two minutes in the future": lambda: sign_token(iat=now() + 120),
    "issued at a text": lambda: sign_token(iat="now"),
    "too long": lambda: sign_token(permissions=["x" * tokens.MAX_TOKEN_LENGTH]),
    "another audience": lambda: sign_token(aud="another shop"),
    "another issuer": lambda: sign_token(iss="evil"),
    "a refresh token": lambda: sign_token(typ="refresh"),
    "a staff token": lambda: sign_token(typ="staff"),
    "a subject that is no id": lambda: sign_token(sub="1 OR 1=1"),
    **{
        f"no {name}": lambda name=name: sign_token(**{name: None})
        for name in ("exp", "iat", "sub", "aud", "iss", "typ")
    },
}


@pytest.mark.parametrize("make", BAD_TOKENS.values(), ids=BAD_TOKENS)
def test_any_other_token_is_unauthenticated(make):
    with pytest.raises(Unauthenticated) as caught:
        tokens.verify(make())
    assert caught.value.facts == {}


def test_a_token_of_a_signer_whose_clock_is_ahead_is_accepted():
    for seconds in (2, 20):
        assert tokens.verify(sign_token(iat=int(time.time()) + seconds)).name == "ada@example.com"


def test_a_token_with_the_permissions_of_every_context_is_accepted():
    permissions = [
        f"{context}.{verb}_something_{n}" for context in settings.ALL_CONTEXTS for verb in "abcd" for n in range(8)
    ]
    assert tokens.verify(sign_token(permissions=permissions)).permissions == frozenset(permissions)


def test_a_staff_token_is_accepted_where_staff_is_required():
    assert tokens.verify(sign_token(typ="staff"), kind=tokens.STAFF).name == "ada@example.com"


def test_the_session_of_an_expired_staff_token_is_known():
    user_id, session_id = uuid7(), uuid7()
    token = sign_token(typ="staff", sub=str(user_id), sid=str(session_id), exp=now() - 100_000)
    assert tokens.read_staff_session(token) == (user_id, session_id)


def staff_token_without_a_session():
    return sign_token(typ="staff")


def staff_token_with_a_malformed_session():
    return sign_token(typ="staff", sid="all")


NO_STAFF_TOKENS = [
    edited, by_another_key, unsigned, sign_token, staff_token_without_a_session, staff_token_with_a_malformed_session,
]  # fmt: skip


@pytest.mark.parametrize("make", NO_STAFF_TOKENS, ids=lambda make: make.__name__)
def test_the_session_of_anything_but_a_staff_token_with_a_session_is_not(make):
    with pytest.raises(Unauthenticated):
        tokens.read_staff_session(make())


def test_a_permission_or_a_star_grants_access():
    clerk, boss, customer = (Caller(uuid7(), "", frozenset(p)) for p in ({"orders.view"}, {"*"}, set()))
    assert (clerk.has_perm("orders.view"), clerk.has_perm("orders.change"), clerk.has_perm("orders")) == (
        True,
        False,
        False,
    )
    assert (boss.has_perm("orders.change"), customer.has_perm("orders.view")) == (True, False)
    assert (clerk.has_module_perms("orders"), clerk.has_module_perms("order"), customer.is_staff) == (
        True,
        False,
        False,
    )


def test_the_published_keys_are_public():
    assert all("d" not in key for key in settings.JWKS["keys"])
