"""Idempotency keys: a repeated request with the same key and body has one effect (IETF draft, Stripe).

The row of a key is written in the transaction of the request's effect, so neither exists without the other. A key whose
row names a resource (an order, a stock movement) is kept as long as that resource; any other is deleted after
IDEMPOTENCY_KEY_RETENTION_HOURS.

The scope of a guest's key and the fingerprint of a body are keyed hashes. While SECRET_KEY_FALLBACKS has former keys, a key
is looked up and stored under each of them, so that two processes with different keys in front never both accept a request.
"""

import re
from collections.abc import Callable
from typing import Any
from uuid import UUID

import msgspec
from django.http import HttpRequest, HttpResponse

from shop import sizes
from shop.db.database import PreparedStatement, execute, execute_or_abort, fetch_rows, joinable_transaction
from shop.errors import Conflict, DomainError, Invalid, Unprocessable
from shop.http.problems import build_problem_response
from shop.http.proxies import get_client_network
from shop.keyed_hashes import compute_keyed_hashes, is_same_hash

MIN_GUEST_KEY_LENGTH = 16
KEY_IS_STORED, HAS_OUTCOME = "idempotency_key", "idempotency_key_outcome"  # labels of NoRowChanged
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
    """The key of a request, the scope in which it is unique, and the keyed hash of the body.

    former: scope and fingerprint under each of SECRET_KEY_FALLBACKS.
    """

    scope: str
    key: str
    fingerprint: str
    former: tuple[tuple[str, str], ...] = ()

    @property
    def fingerprints(self) -> dict[str, str]:
        """The fingerprint by scope. Sorted, so that concurrent requests lock rows in one order."""
        return dict(sorted({**dict(self.former), self.scope: self.fingerprint}.items()))

    def has_fingerprint(self, fingerprint: str) -> bool:
        """Return whether a stored fingerprint is that of this request's body."""
        known = [self.fingerprint, *(former for _, former in self.former)]
        return any([is_same_hash(fingerprint, one) for one in known])


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
    "SELECT fingerprint, resource, status, body FROM shop_idempotencykey WHERE scope = ANY(%s) AND key = %s"
)
_RECORD = PreparedStatement("""
INSERT INTO shop_idempotencykey (scope, key, fingerprint, resource)
SELECT scope, %s, fingerprint, %s FROM unnest(%s::text[], %s::text[]) AS given (scope, fingerprint)
ON CONFLICT (scope, key) DO NOTHING""")
_STORE = PreparedStatement("""
UPDATE shop_idempotencykey SET status = coalesce(status, %s), body = coalesce(body, %s)
WHERE scope = ANY(%s) AND key = %s RETURNING resource, status, body""")
_STORE_FIRST = PreparedStatement("""
UPDATE shop_idempotencykey SET status = %s, body = %s WHERE scope = ANY(%s) AND key = %s AND status IS NULL""")

_TRY_LOCK = "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))"


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
    fingerprints = compute_keyed_hashes(msgspec.json.encode(body, order="deterministic"))
    owners = [str(request.user.id)] * len(fingerprints)
    if is_guest:
        owners = compute_keyed_hashes(f"{getattr(body, 'email', '')} {getattr(body, 'cart_id', '')}".encode())
    scopes = _build_scopes(owners, f"{request.method} {request.path}")
    (scope, fingerprint), *former = zip(scopes, fingerprints, strict=True)
    return Key(scope=scope, key=key, fingerprint=fingerprint, former=tuple(former))


def bind_to_client(key: Key, request: HttpRequest) -> Key:
    """Return the key of a guest whose request names nothing of their own, such as an e-mail address, in a scope of the client.

    The client is its network address with its User-Agent. Otherwise guests who choose the same key would share an effect.
    """
    client = f"{get_client_network(request)} {request.headers.get('User-Agent', '')}"
    hashes = compute_keyed_hashes(f"client {client}".encode())
    known = [(key.scope, key.fingerprint), *key.former]
    bound = zip(hashes, known, strict=True)
    (scope, fingerprint), *former = [(_replace_owner(scope, owner), mark) for owner, (scope, mark) in bound]
    return msgspec.structs.replace(key, scope=scope, fingerprint=fingerprint, former=tuple(former))


def _replace_owner(scope: str, owner: str) -> str:
    return f"{owner} {scope.partition(' ')[2]}"


def _build_scopes(owners: list[str], operation: str) -> list[str]:
    """Return the scope of a key under each secret. A path that is too long for the column is replaced by its hash."""
    if len(f"{owners[0]} {operation}") <= sizes.IDEMPOTENCY_SCOPE_LENGTH:
        return [f"{owner} {operation}" for owner in owners]
    digests = compute_keyed_hashes(operation.encode())
    return [f"{owner} {digest}" for owner, digest in zip(owners, digests, strict=True)]


def find(alias: str, key: Key) -> StoredOutcome | None:
    """Find the outcome of a key. Raises IdempotencyKeyReused if it was used with another body."""
    rows = fetch_rows(alias, _FIND, [list(key.fingerprints), key.key])
    if not rows:
        return None
    fingerprint, resource, status, body = rows[0]  # during a change of SECRET_KEY a key may have several equal rows
    if not key.has_fingerprint(fingerprint):
        raise IdempotencyKeyReused
    return StoredOutcome(resource, status, None if body is None else bytes(body))


def is_stored(alias: str, key: Key) -> bool:
    """Return whether a request with this key has been stored, with whatever body."""
    return bool(fetch_rows(alias, _FIND, [list(key.fingerprints), key.key]))


def record(alias: str, key: Key, resource: UUID | None = None) -> None:
    """Store the key inside the transaction of its effect. Raises IdempotencyKeyInFlight if another request was first."""
    if execute(alias, _RECORD, _build_rows(key, resource)) < len(key.fingerprints):
        raise IdempotencyKeyInFlight


def record_or_abort(alias: str, key: Key, resource: UUID) -> None:
    """Store the key in one message with the effect of its request, or abort their transaction if another request was first.

    NoRowChanged(KEY_IS_STORED) is raised when the message is sent.
    """
    execute_or_abort(alias, KEY_IS_STORED, _RECORD, _build_rows(key, resource), rows=len(key.fingerprints))


def _build_rows(key: Key, resource: UUID | None) -> list[object]:
    return [key.key, resource, list(key.fingerprints), list(key.fingerprints.values())]


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


def get_outcome(alias: str, key: Key) -> Outcome | None:
    """Return the final outcome that is stored with a key; None while its request is in progress."""
    stored = find(alias, key)
    return stored.outcome if stored else None


def store_outcome_or_abort(alias: str, key: Key, outcome: Outcome) -> None:
    """Store the final outcome in one message with other writes, or abort their transaction if the key has one already.

    NoRowChanged(HAS_OUTCOME) is raised when the message is sent.
    """
    parameters = [outcome.status, outcome.body, list(key.fingerprints), key.key]
    execute_or_abort(alias, HAS_OUTCOME, _STORE_FIRST, parameters)


def store_response(alias: str, key: Key, status: int, body: bytes) -> StoredOutcome:
    """Store the final response of a key, unless it has one. Returns the stored outcome."""
    [(resource, stored_status, stored_body), *_] = fetch_rows(
        alias, _STORE, [status, body, list(key.fingerprints), key.key]
    )
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
            [(is_locked,)] = fetch_rows(alias, _TRY_LOCK, [min(key.fingerprints) + key.key])
            if not is_locked:
                raise IdempotencyKeyInFlight
            record(alias, key, resource)
            response = respond()
            store_response(alias, key, response.status_code, response.content)
            return response
    return HttpResponse(stored.body, status=stored.status, content_type="application/json")
