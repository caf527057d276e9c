"""Make idempotency keys old."""

from shop.db.database import execute, fetch_rows
from shop.db.retention import list_model_rules
from shop.models import IdempotencyKey
from shop.purging import purge_now


def age_and_purge_keys(alias: str, *keys: str) -> None:
    """Make keys older than any lifetime that depends on age, and purge. AssertionError if a key was never stored."""
    for key in keys:
        assert fetch_rows(alias, "SELECT 1 FROM shop_idempotencykey WHERE key = %s", [key]), "the key is not stored"
        execute(alias, "UPDATE shop_idempotencykey SET created_at = now() - interval '31 days' WHERE key = %s", [key])
    purge_now(alias, list_model_rules(IdempotencyKey))
