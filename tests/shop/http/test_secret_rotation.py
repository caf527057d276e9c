"""Idempotency keys and quotas while SECRET_KEY is being changed."""

import uuid
from types import SimpleNamespace

import msgspec
import pytest
from django.test import RequestFactory

from shop.db.database import joinable_transaction
from shop.errors import TooManyRequests
from shop.http import idempotency
from shop.http.idempotency import IdempotencyKeyInFlight, Key
from shop.http.rate_limits import Limiter
from shop.ids import uuid7
from shop.keyed_hashes import compute_keyed_hash, is_keyed_hash
from tests.secret_rotation import rotate_secret

OLD, NEW = "old" * 16, "new" * 16


class Body(msgspec.Struct):
    email: str = "guest@example.com"


def read_key(settings, key: str, secret: str, *fallbacks: str) -> Key:
    """Read the key of a guest's request as a process with these secrets does."""
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = secret, list(fallbacks)
    request = RequestFactory().post("/orders", headers={"Idempotency-Key": key})
    request.user = SimpleNamespace(is_authenticated=False, id=None)
    return idempotency.read_key(request, Body(), required=True)


def record(key: Key) -> None:
    with joinable_transaction("orders"):
        idempotency.record("orders", key, uuid7())


@pytest.fixture
def key() -> str:
    return uuid.uuid4().hex


def test_of_two_processes_with_different_keys_in_front_one_records_a_request(settings, key):
    record(read_key(settings, key, NEW, OLD))
    with pytest.raises(IdempotencyKeyInFlight):
        record(read_key(settings, key, OLD, NEW))
    with pytest.raises(IdempotencyKeyInFlight):
        record(read_key(settings, key, OLD))


def test_a_request_is_found_under_every_key(settings, key):
    resource = uuid7()
    first = read_key(settings, key, NEW, OLD)
    idempotency.record("orders", first, resource)
    idempotency.store_response("orders", first, 201, b"first")
    for secrets in ([OLD], [NEW], [OLD, NEW], ["next" * 12, NEW]):
        found = idempotency.find("orders", read_key(settings, key, *secrets))
        assert found == idempotency.StoredOutcome(resource, 201, b"first"), secrets


def test_a_used_quota_stays_used(settings):
    settings.RATE_LIMITS, settings.RATE_LIMIT_CARTS = True, "1/minute"
    address = uuid.uuid4().hex
    Limiter("orders", ["carts"], {"address": address}).count()
    rotate_secret(settings)
    with pytest.raises(TooManyRequests):
        Limiter("orders", ["carts"], {"address": address}).count()
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = settings.SECRET_KEY_FALLBACKS[0], []
    with pytest.raises(TooManyRequests):
        Limiter("orders", ["carts"], {"address": address}).count()


def test_a_hash_is_recognized_until_its_key_is_removed(settings):
    value = compute_keyed_hash(b"data")
    rotate_secret(settings)
    assert compute_keyed_hash(b"data") != value
    assert is_keyed_hash(value, b"data")
    assert not is_keyed_hash(value, b"other data")
    settings.SECRET_KEY_FALLBACKS = []
    assert not is_keyed_hash(value, b"data")
