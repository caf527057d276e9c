"""Tokens: only what users signed, for this shop, of the right kind and in its time."""

import base64
import hashlib
import hmac
import json
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from django.conf import settings

from shop import tokens
from shop.errors import Unauthenticated
from shop.ids import uuid7
from shop.tokens import Caller
from tests.environment import signing_key
from tests.shop.keys import claims, kid, token


def test_a_good_token_names_its_caller():
    who = uuid7()
    caller = tokens.verify(token(sub=str(who), permissions=["orders.view"]))
    assert caller == Caller(who, "ada@example.com", frozenset({"orders.view"}))


def part(content):
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=")


def unsigned():
    return (part({"alg": "none", "kid": kid()}) + b"." + part(claims()) + b".").decode()


def signed_with_the_public_key():
    """The RS/HS confusion (RFC 8725, 2.1)."""
    public = json.dumps(settings.JWKS["keys"][0]).encode()
    text = part({"alg": "HS256", "kid": kid()}) + b"." + part(claims())
    seal = base64.urlsafe_b64encode(hmac.new(public, text, hashlib.sha256).digest()).rstrip(b"=")
    return (text + b"." + seal).decode()


def edited():
    head, _, seal = token().split(".")
    return f"{head}.{part(claims(permissions=['*'])).decode()}.{seal}"


def by_another_key(**header):
    return jwt.encode(claims(), signing_key(), "ES256", headers={"kid": kid()} | header)


def own_key_in_the_header():
    mine = ec.generate_private_key(ec.SECP256R1())
    jwk = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(mine.public_key()))
    return jwt.encode(claims(), mine, "ES256", headers={"kid": kid(), "jwk": jwk})


NOW = int(time.time())
BAD = {
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
    "an unknown kid": lambda: token({"kid": "nobody"}),
    "a kid that is a path": lambda: token({"kid": "../../etc/passwd"}),
    "expired": lambda: token(exp=NOW - 10),
    "not yet valid": lambda: token(nbf=NOW + 100_000),
    "issued in the future": lambda: token(iat=NOW + 100_000),
    "another audience": lambda: token(aud="another shop"),
    "another issuer": lambda: token(iss="evil"),
    "a refresh token": lambda: token(typ="refresh"),
    "a staff token": lambda: token(typ="staff"),
    "a subject that is no id": lambda: token(sub="1 OR 1=1"),
    **{f"no {name}": lambda name=name: token(**{name: None}) for name in ("exp", "iat", "sub", "aud", "iss", "typ")},
}


@pytest.mark.parametrize("make", BAD.values(), ids=BAD)
def test_anything_else_is_unauthenticated(make):
    with pytest.raises(Unauthenticated) as caught:
        tokens.verify(make())
    assert caught.value.facts == {}


def test_a_staff_token_is_one_where_staff_is_asked_for():
    assert tokens.verify(token(typ="staff"), kind=tokens.STAFF).name == "ada@example.com"


def test_the_owner_of_an_expired_staff_token_is_known():
    who = uuid7()
    assert tokens.owner_of_expired(token(typ="staff", sub=str(who), exp=NOW - 100_000)) == who


@pytest.mark.parametrize("make", [edited, by_another_key, unsigned, token], ids=lambda make: make.__name__)
def test_the_owner_of_anything_but_a_staff_token_is_not(make):
    with pytest.raises(Unauthenticated):
        tokens.owner_of_expired(make())


def test_a_permission_or_the_star_is_a_permission():
    clerk, boss, customer = (Caller(uuid7(), "", frozenset(p)) for p in ({"orders.view"}, {"*"}, set()))
    assert (clerk.has_perm("orders.view"), clerk.has_perm("orders.change"), clerk.has_perm("orders")) == (True, False, False)
    assert (boss.has_perm("orders.change"), customer.has_perm("orders.view")) == (True, False)
    assert (clerk.has_module_perms("orders"), clerk.has_module_perms("order"), customer.is_staff) == (True, False, False)


def test_the_published_keys_are_public():
    assert all("d" not in key for key in settings.JWKS["keys"])
