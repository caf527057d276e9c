"""Public keys of access tokens as JWKs (RFC 7517), read from the settings."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

import jwt
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from jwt.algorithms import ECAlgorithm

from shop.settings import env

JWK = dict[str, Any]

_MEMBERS = ("crv", "kty", "x", "y")
_PEM = re.compile(r"-----BEGIN PUBLIC KEY-----.+?-----END PUBLIC KEY-----", re.DOTALL)


def read_private_key(name: str, default: Any) -> str:
    """Return a private key in PEM, whose line breaks may be written as \\n; the default if the setting is empty."""
    return str(env.str(name, default=default)).replace("\\n", "\n")


def build_jwk(pem: str) -> JWK:
    """Return the public key of a private key in PEM. Raises ValueError unless it is an EC P-256 key."""
    try:
        public = load_pem_private_key(pem.encode(), None).public_key()
        return _complete(json.loads(ECAlgorithm.to_jwk(public)))  # type: ignore[arg-type]  # other kinds of keys raise
    except (ValueError, TypeError, AttributeError, KeyError, jwt.PyJWTError) as error:
        raise ValueError(f"is not an EC P-256 private key in PEM: {error}") from None


def read_public_keys(name: str, default: list[JWK]) -> list[JWK]:
    """Read public keys: a JWK set, an array of JWKs, JWKs separated by commas, or PEM, also several after one another.

    Raises ValueError for any other key than a public one on the curve P-256.
    """
    text = env.str(name, default="").strip()
    keys = list(_parse_pem(text) if "-----BEGIN" in text else _parse_json(text))
    return [_check(key) for key in keys] or default


def _parse_pem(text: str) -> Iterator[JWK]:
    text = text.replace("\\n", "\n")
    found = _PEM.findall(text)
    if not found or text.count("-----BEGIN") != len(found):
        raise ValueError("each key has to be a public JWK, or a public key in PEM (BEGIN PUBLIC KEY)")
    for pem in found:
        try:
            yield json.loads(ECAlgorithm.to_jwk(load_pem_public_key(pem.encode())))  # type: ignore[arg-type]  # checked next
        except (ValueError, TypeError, AttributeError, jwt.PyJWTError) as error:
            raise ValueError(f"a public key in PEM is not an EC P-256 key: {error}") from None


def _parse_json(text: str) -> list[JWK]:
    found = json.loads(text if text.startswith("[") else f"[{text}]")
    if len(found) == 1 and isinstance(found[0], dict) and isinstance(found[0].get("keys"), list):
        return list(found[0]["keys"])
    return list(found)


def _check(key: object) -> JWK:
    """Return a public key with all members that a JWK set of ours has. Its `kid` is the thumbprint unless it has one."""
    if not isinstance(key, dict) or "d" in key:
        raise ValueError("each key has to be a public JWK, as /.well-known/jwks.json shows them")
    try:
        ECAlgorithm.from_jwk(key)
        return _complete(key)
    except (ValueError, TypeError, KeyError, jwt.PyJWTError) as error:
        raise ValueError(
            f"each key has to be a public JWK of an EC P-256 key, as /.well-known/jwks.json shows them: {error}"
        ) from None


def _complete(key: JWK) -> JWK:
    public = {name: key[name] for name in _MEMBERS}
    if public["crv"] != "P-256":
        raise ValueError(f"its curve is {public['crv']}")
    return {**public, "kid": str(key.get("kid") or _compute_thumbprint(public)), "use": "sig", "alg": "ES256"}


def _compute_thumbprint(public: JWK) -> str:
    """Compute the thumbprint of a key (RFC 7638)."""
    digest = hashlib.sha256(json.dumps(public, separators=(",", ":"), sort_keys=True).encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def list_distinct(keys: list[JWK]) -> list[JWK]:
    """Return the keys without repeats of a `kid`; the first one counts."""
    return list({key["kid"]: key for key in reversed(keys)}.values())[::-1]
