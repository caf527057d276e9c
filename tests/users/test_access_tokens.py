"""Access tokens: their claims, and the refusal of every other token (RFC 8725)."""

import base64
import json
import uuid
from datetime import timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from django.conf import settings

from shop import clock
from shop.errors import Unauthenticated
from tests.http_client import Client
from tests.users.accounts import issue_tokens, register_person, send

LATER = timedelta(minutes=5)


def build_claims(**changes):
    now = clock.now()
    valid = {
        "iss": settings.JWT_ISSUER,
        "aud": settings.JWT_AUDIENCE,
        "sub": str(register_person().id),
        "iat": now,
        "exp": now + LATER,
        "typ": "access",
        "jti": uuid.uuid4().hex,
        "name": "Mina",
        "permissions": [],
    }
    return {name: value for name, value in (valid | changes).items() if value is not None}


def signed(key=None, algorithm="ES256", headers=None, **changes):
    kid = {"kid": settings.JWKS["keys"][0]["kid"]}
    return jwt.encode(
        build_claims(**changes), key or settings.JWT_SIGNING_KEY, algorithm, headers=kid | (headers or {})
    )


def part(content):
    return base64.urlsafe_b64encode(json.dumps(content, default=str).encode()).rstrip(b"=").decode()


def public_pem():
    public = load_pem_private_key(settings.JWT_SIGNING_KEY.encode(), None).public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def hmac_with_the_public_key():
    """Build an HS256 token with the public key as its secret. PyJWT refuses to sign with such a key."""
    head = part({"alg": "HS256", "typ": "JWT", "kid": settings.JWKS["keys"][0]["kid"]})
    body = part(build_claims(iat=1, exp=4102444800))
    digest = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    signature = digest.sign(f"{head}.{body}".encode(), public_pem())
    return f"{head}.{body}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def unsigned():
    kid = settings.JWKS["keys"][0]["kid"]
    return f"{part({'alg': 'none', 'typ': 'JWT', 'kid': kid})}.{part(build_claims(iat=1, exp=4102444800))}."


def edited(**changes):
    head, body, signature = signed().split(".")
    original = json.loads(base64.urlsafe_b64decode(body + "=="))
    return f"{head}.{part(original | changes)}.{signature}"


def signed_by_attacker(header):
    """Sign a token with the attacker's key, and offer that key in a header for the verification."""
    key = ec.generate_private_key(ec.SECP256R1())
    jwk = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key())) | {"kid": "mine"}
    offers = {"jwk": {"jwk": jwk}, "jku": {"jku": "https://attacker.example/jwks.json"}, "kid": {"kid": "mine"}}
    return signed(key, headers=offers[header])


BAD_TOKENS = {
    "no token": lambda: "",
    "no JWT": lambda: "abc",
    "three dots": lambda: "...",
    "no UTF-8": lambda: "\xff.\xff.\xff",
    "very long": lambda: "a" * 50_000,
    "not signed": unsigned,
    "HMAC with the public key": hmac_with_the_public_key,
    "another key": lambda: signed(ec.generate_private_key(ec.SECP256R1())),
    "an offered key by jwk": lambda: signed_by_attacker("jwk"),
    "an offered key by jku": lambda: signed_by_attacker("jku"),
    "an offered key by kid": lambda: signed_by_attacker("kid"),
    "an unknown kid": lambda: signed(headers={"kid": "unknown"}),
    "a kid that is a path": lambda: signed(headers={"kid": "../../dev/null"}),
    "another curve": lambda: signed(ec.generate_private_key(ec.SECP384R1()), "ES384"),
    "expired": lambda: signed(exp=clock.now() - timedelta(seconds=1)),
    "not valid yet": lambda: signed(nbf=clock.now() + LATER),
    "issued in the future": lambda: signed(iat=clock.now() + LATER),
    "another audience": lambda: signed(aud="elsewhere"),
    "another issuer": lambda: signed(iss="elsewhere"),
    "a staff token": lambda: signed(typ="staff"),
    "no expiry": lambda: signed(exp=None),
    "no audience": lambda: signed(aud=None),
    "no issuer": lambda: signed(iss=None),
    "no type": lambda: signed(typ=None),
    "no subject": lambda: signed(sub=None),
    "a subject that is no id": lambda: signed(sub="admin"),
    "an edited subject": lambda: edited(sub=str(uuid.uuid4())),
    "edited permissions": lambda: edited(permissions=["*"]),
    "a signature cut off": lambda: signed().rpartition(".")[0] + ".",
    "a refresh token": lambda: issue_tokens(register_person())[1],
    "an unknown account": lambda: signed(sub=str(uuid.uuid4())),
}


@pytest.mark.parametrize("kind", BAD_TOKENS)
def test_every_bad_token_gets_the_same_response(kind):
    response = Client().get("/api/v1/users/me", headers={"Authorization": f"Bearer {BAD_TOKENS[kind]()}"})
    problem = response.json()
    problem.pop("request_id")
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert problem == {
        "type": f"{settings.SITE_URL}/api/docs/errors#shop.unauthenticated",
        "title": "Unauthenticated",
        "status": 401,
        "detail": str(Unauthenticated()),
        "code": "shop.unauthenticated",
        "facts": {},
    }


def test_the_unmodified_token_is_accepted():
    """Negative control: the bad tokens are refused for their named defect, not for the way they are built."""
    assert send("get", "users/me", token=signed()).status_code == 200


def test_other_schemes_and_no_header_are_refused():
    for headers in ({}, {"Authorization": "Basic YTpi"}, {"Authorization": f"Token {signed()}"}):
        assert Client().get("/api/v1/users/me", headers=headers).status_code == 401


def test_an_access_token_has_subject_audience_and_expiry():
    person = register_person(full_name="Mina Orange")
    access, _ = issue_tokens(person)
    [key] = Client().get("/.well-known/jwks.json").json()["keys"]
    assert jwt.get_unverified_header(access) == {"alg": "ES256", "typ": "JWT", "kid": key["kid"]}
    claims = jwt.decode(access, jwt.PyJWK(key), ["ES256"], audience="satsuma", issuer="satsuma")
    assert claims.pop("exp") - claims.pop("iat") == settings.ACCESS_TOKEN_SECONDS
    assert uuid.UUID(claims.pop("jti")) != uuid.UUID(claims.pop("sid"))
    assert claims == {
        "iss": "satsuma",
        "aud": "satsuma",
        "sub": str(person.id),
        "typ": "access",
        "name": "Mina Orange",
        "permissions": [],
    }
