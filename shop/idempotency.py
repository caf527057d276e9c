"""Idempotency-Key: the same key and body is the same request, however often it arrives (IETF draft, Stripe).

The key's row is written in the transaction of the request's effect, so there is never a key without an effect nor an
effect without its key.
"""

import hashlib
import hmac
import re
from collections.abc import Callable
from typing import Any
from uuid import UUID

import msgspec
from django.conf import settings
from django.http import HttpRequest, HttpResponse

from shop.database import Prepared, changed, kernel_transaction, rows
from shop.errors import Conflict, Invalid, Unprocessable

GUEST_KEY_LENGTH = 16


class IdempotencyKeyMissing(Invalid):
    """This request needs an Idempotency-Key header."""


class IdempotencyKeyInvalid(Invalid):
    """An Idempotency-Key has 1 to 255 printable ASCII characters, for guests at least 16."""


class IdempotencyKeyReused(Unprocessable):
    """This Idempotency-Key was used for a different request."""


class IdempotencyKeyInFlight(Conflict):
    """The first request with this Idempotency-Key is still being carried out."""

    retry_after: int = 1


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """A request's key, with the scope in which it is unique and the keyed hash of its body."""

    scope: str
    key: str
    fingerprint: str


class Known(msgspec.Struct, frozen=True):
    """What a key already led to: the resource, and the final answer where there is one."""

    resource: UUID | None
    status: int | None
    body: bytes | None


_FIND = Prepared("SELECT fingerprint, resource, status, body FROM shop_idempotencykey WHERE scope = %s AND key = %s")
_RECORD = Prepared("""
INSERT INTO shop_idempotencykey (scope, key, fingerprint, resource) VALUES (%s, %s, %s, %s)
ON CONFLICT (scope, key) DO NOTHING""")
_STORE = Prepared("""
UPDATE shop_idempotencykey SET status = coalesce(status, %s), body = coalesce(body, %s)
WHERE scope = %s AND key = %s RETURNING resource, status, body""")


def keyed_hash(data: bytes) -> str:
    """HMAC-SHA256 under the shop's secret: comparable here, worthless elsewhere."""
    return hmac.new(settings.SECRET_KEY.encode(), data, hashlib.sha256).hexdigest()


def same(one: str, other: str) -> bool:
    """Whether two hashes are equal, in a time that does not tell how far."""
    return hmac.compare_digest(one.encode(), other.encode())


def key_of(request: HttpRequest, body: Any, *, required: bool) -> Key | None:
    """The request's key, None without one. Raises IdempotencyKeyMissing, IdempotencyKeyInvalid."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        if required:
            raise IdempotencyKeyMissing
        return None
    guest = not request.user.is_authenticated
    if not re.fullmatch(r"[\x21-\x7e]{1,255}", key) or (guest and len(key) < GUEST_KEY_LENGTH):
        raise IdempotencyKeyInvalid
    who = str(request.user.id)
    if guest:
        who = keyed_hash(f"{getattr(body, 'email', '')} {getattr(body, 'cart_id', '')}".encode())
    fingerprint = keyed_hash(msgspec.json.encode(body, order="deterministic"))
    return Key(scope=f"{who} {request.method} {request.path}"[:200], key=key, fingerprint=fingerprint)


def find(alias: str, key: Key) -> Known | None:
    """What the key led to. Raises IdempotencyKeyReused if it came with another body."""
    found = rows(alias, _FIND, [key.scope, key.key])
    if not found:
        return None
    [(fingerprint, resource, status, body)] = found
    if not same(fingerprint, key.fingerprint):
        raise IdempotencyKeyReused
    return Known(resource, status, None if body is None else bytes(body))


def record(alias: str, key: Key, resource: UUID | None = None) -> None:
    """Tie the key to its effect, inside the effect's transaction. Raises IdempotencyKeyInFlight if another was first."""
    if not changed(alias, _RECORD, [key.scope, key.key, key.fingerprint, resource]):
        raise IdempotencyKeyInFlight


def finish(alias: str, key: Key, status: int, body: bytes) -> Known:
    """Store the final answer, and return what is stored: the first one stays."""
    [stored] = rows(alias, _STORE, [status, body, key.scope, key.key])
    return Known(stored[0], stored[1], bytes(stored[2]))


def answer_once(alias: str, key: Key, answer: Callable[[], HttpResponse]) -> HttpResponse:
    """Run a request whose effect is one transaction on `alias`, together with its key; or repeat its answer.

    An error that the request raises rolls both back, so it keeps no key. Raises IdempotencyKeyInFlight, ~Reused.
    """
    known = find(alias, key)
    if known is None:
        with kernel_transaction(alias):
            if not rows(alias, "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))", [key.scope + key.key])[0][0]:
                raise IdempotencyKeyInFlight
            record(alias, key)
            response = answer()
            finish(alias, key, response.status_code, response.content)
            return response
    return HttpResponse(known.body, status=known.status, content_type="application/json")


def purge(alias: str) -> int:
    """Forget keys after 72 hours. Returns how many."""
    return changed(alias, "DELETE FROM shop_idempotencykey WHERE created_at < now() - interval '72 hours'")
