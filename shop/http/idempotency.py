"""Idempotency keys: a repeated request with the same key and body has one effect (IETF draft, Stripe).

The row of a key is written in the transaction of the request's effect, so neither exists without the other. A key whose
row names a resource (an order, a stock movement) is kept as long as that resource; any other is kept for 72 hours.
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

from shop import sizes
from shop.db.database import PreparedStatement, execute, fetch_rows, joinable_transaction
from shop.errors import Conflict, DomainError, Invalid, Unprocessable
from shop.http.problems import build_problem_response

MIN_GUEST_KEY_LENGTH = 16
_KEY = rf"[\x21-\x7e]{{1,{sizes.IDEMPOTENCY_KEY_LENGTH}}}"


class IdempotencyKeyMissing(Invalid):
    """This request requires an Idempotency-Key header."""

    remedy = "Generate a UUID for the action, and send it with every retry of the action."


class IdempotencyKeyInvalid(Invalid):
    """An Idempotency-Key must have 1 to 255 printable ASCII characters, for guests at least 16."""

    remedy = "Use a UUID."


class IdempotencyKeyReused(Unprocessable):
    """This Idempotency-Key was already used for a different request."""

    remedy = "Retry with exactly the first request, or use a new key for a new one."


class IdempotencyKeyInFlight(Conflict):
    """A request with this Idempotency-Key is still in progress."""

    remedy = "Wait for the seconds in `Retry-After`, then repeat the request with the same key."
    retry_after: int = 1


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """The key of a request, the scope in which it is unique, and the keyed hash of the body."""

    scope: str
    key: str
    fingerprint: str


class Outcome(msgspec.Struct, frozen=True):
    """The final outcome of a request: its status, and the exact bytes of its body."""

    status: int
    body: bytes


class StoredOutcome(msgspec.Struct, frozen=True):
    """The recorded outcome of a key: the resource, and the final response if there is one."""

    resource: UUID | None
    status: int | None
    body: bytes | None

    @property
    def outcome(self) -> Outcome | None:
        """The final outcome; None while the request is in progress."""
        return None if self.status is None or self.body is None else Outcome(self.status, self.body)


_FIND = PreparedStatement(
    "SELECT fingerprint, resource, status, body FROM shop_idempotencykey WHERE scope = %s AND key = %s"
)
_RECORD = PreparedStatement("""
INSERT INTO shop_idempotencykey (scope, key, fingerprint, resource) VALUES (%s, %s, %s, %s)
ON CONFLICT (scope, key) DO NOTHING""")
_STORE = PreparedStatement("""
UPDATE shop_idempotencykey SET status = coalesce(status, %s), body = coalesce(body, %s)
WHERE scope = %s AND key = %s RETURNING resource, status, body""")

_TRY_LOCK = "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))"


def compute_keyed_hash(data: bytes) -> str:
    """Compute an HMAC-SHA256 with the shop's secret, so that stored hashes reveal nothing outside of the shop."""
    return hmac.new(settings.SECRET_KEY.encode(), data, hashlib.sha256).hexdigest()


def is_same_hash(one: str, other: str) -> bool:
    """Compare two hashes in constant time."""
    return hmac.compare_digest(one.encode(), other.encode())


def read_key(request: HttpRequest, body: object, *, required: bool) -> Key | None:
    """Read the idempotency key of a request; None without one.

    Keys of guests are scoped by a hash of their e-mail address and cart. Raises IdempotencyKeyMissing,
    IdempotencyKeyInvalid.
    """
    key = request.headers.get("Idempotency-Key")
    if key is None:
        if required:
            raise IdempotencyKeyMissing
        return None
    is_guest = not request.user.is_authenticated
    if not re.fullmatch(_KEY, key) or (is_guest and len(key) < MIN_GUEST_KEY_LENGTH):
        raise IdempotencyKeyInvalid
    owner = str(request.user.id)
    if is_guest:
        owner = compute_keyed_hash(f"{getattr(body, 'email', '')} {getattr(body, 'cart_id', '')}".encode())
    fingerprint = compute_keyed_hash(msgspec.json.encode(body, order="deterministic"))
    return Key(scope=_build_scope(owner, f"{request.method} {request.path}"), key=key, fingerprint=fingerprint)


def _build_scope(owner: str, operation: str) -> str:
    """Return the scope of a key. A path that is too long for the column is replaced by its hash."""
    scope = f"{owner} {operation}"
    if len(scope) <= sizes.IDEMPOTENCY_SCOPE_LENGTH:
        return scope
    return f"{owner} {compute_keyed_hash(operation.encode())}"


def find(alias: str, key: Key) -> StoredOutcome | None:
    """Find the outcome of a key. Raises IdempotencyKeyReused if it was used with another body."""
    rows = fetch_rows(alias, _FIND, [key.scope, key.key])
    if not rows:
        return None
    [(fingerprint, resource, status, body)] = rows
    if not is_same_hash(fingerprint, key.fingerprint):
        raise IdempotencyKeyReused
    return StoredOutcome(resource, status, None if body is None else bytes(body))


def record(alias: str, key: Key, resource: UUID | None = None) -> None:
    """Store the key inside the transaction of its effect. Raises IdempotencyKeyInFlight if another request was first."""
    if not execute(alias, _RECORD, [key.scope, key.key, key.fingerprint, resource]):
        raise IdempotencyKeyInFlight


def encode_result(result: msgspec.Struct) -> Outcome:
    """Encode the object that a request has created as its final outcome."""
    return Outcome(201, msgspec.json.encode(result))


def encode_refusal(error: DomainError, status: int | None = None, **facts: Any) -> Outcome:
    """Encode a domain error, with more facts, as the final outcome of a request. `status` overrides that of the error."""
    response = build_problem_response(error, status=status, **facts)
    return Outcome(response.status_code, response.content)


def store_outcome(alias: str, key: Key, outcome: Outcome) -> Outcome:
    """Store the final outcome of a request, and return what is stored: the first one stays."""
    stored = store_response(alias, key, outcome.status, outcome.body)
    return stored.outcome or outcome


def store_response(alias: str, key: Key, status: int, body: bytes) -> StoredOutcome:
    """Store the final response of a key, unless it has one. Returns the stored outcome."""
    [(resource, stored_status, stored_body)] = fetch_rows(alias, _STORE, [status, body, key.scope, key.key])
    return StoredOutcome(resource, stored_status, bytes(stored_body))


def respond_once(
    alias: str, key: Key, respond: Callable[[], HttpResponse], *, resource: UUID | None = None
) -> HttpResponse:
    """Run a request in one transaction with its key, or return the stored response of an earlier request.

    resource: what the request creates. With it the key is kept as long as the resource.
    An error rolls back the key and the effect, so the key stays unused.
    Raises IdempotencyKeyInFlight, IdempotencyKeyReused.
    """
    stored = find(alias, key)
    if stored is None:
        with joinable_transaction(alias):
            [(is_locked,)] = fetch_rows(alias, _TRY_LOCK, [key.scope + key.key])
            if not is_locked:
                raise IdempotencyKeyInFlight
            record(alias, key, resource)
            response = respond()
            store_response(alias, key, response.status_code, response.content)
            return response
    return HttpResponse(stored.body, status=stored.status, content_type="application/json")


_PURGE_SQL = "DELETE FROM shop_idempotencykey WHERE resource IS NULL AND created_at < now() - interval '72 hours'"


def purge(alias: str) -> int:
    """Delete keys older than 72 hours, but not those of a resource. Returns the number of deleted keys."""
    return execute(alias, _PURGE_SQL)
