"""Purging of many rows: every transaction is short, however many rows are old. `make test-retention`: a million."""

import os
import time

import pytest

from shop import purging
from shop.db.database import execute, fetch_rows
from shop.db.retention import list_model_rules
from shop.models import CallCount, IdempotencyKey, OutboxEvent, RateLimit

ALIAS = "payments"
ROWS = int(os.environ.get("RETENTION_ROWS", "20000"))
MAX_BATCH_SECONDS = 1.0  # a batch takes some 10 ms; the statement time-out is 15 s

INSERTS = {
    OutboxEvent: """
        INSERT INTO shop_outboxevent (id, name, version, stream, sequence, occurred_at, hops, correlation_id, causation_id,
                                      traceparent, payload)
        SELECT md5(number::text)::uuid, 'test', 1, 'test:many', number, now() - interval '40 days', 0, '', '', '', '{}'
        FROM generate_series(1, %(rows)s) AS number;
        INSERT INTO shop_delivery (event_id, subscriber, stream, sequence, due_at, acknowledged_at)
        SELECT md5(number::text)::uuid, 'nobody', 'test:many', number, NULL, now()
        FROM generate_series(1, %(rows)s) AS number""",
    IdempotencyKey: """
        INSERT INTO shop_idempotencykey (scope, key, fingerprint, status, body, created_at)
        SELECT 'test', number, '', 201, '', now() - interval '4 days' FROM generate_series(1, %(rows)s) AS number""",
    CallCount: """
        INSERT INTO shop_callcount (minute, caller, method, nth, calls, failed, seconds)
        SELECT now() - interval '1 year' + number * interval '1 second', 'test', 'many', 0, 1, 0, 0
        FROM generate_series(1, %(rows)s) AS number""",
    RateLimit: """
        INSERT INTO shop_ratelimit (subject, hits, quota, period, expires_at)
        SELECT md5(number::text), '{}', 1, interval '1 minute', now() - interval '1 minute'
        FROM generate_series(1, %(rows)s) AS number""",
}


@pytest.mark.parametrize("model", INSERTS, ids=lambda model: model.__name__)
def test_the_oldest_rows_of_a_large_table_are_deleted_in_short_transactions(model):
    table, [rule] = model._meta.db_table, list_model_rules(model)
    purging.purge_now(ALIAS, [rule])
    for statement in INSERTS[model].split(";"):
        execute(
            ALIAS, f"SET statement_timeout = 0; {statement.replace('%(rows)s', str(ROWS))}; RESET statement_timeout"
        )
    execute(ALIAS, f"ANALYZE {table}")
    slowest, deleted, began = 0.0, 0, time.monotonic()
    batches = purging.delete_batches(ALIAS, rule)
    while (count := next(batches, None)) is not None:
        slowest, deleted, began = max(slowest, time.monotonic() - began), deleted + count, time.monotonic()
        assert count <= 1_000
    assert deleted == ROWS
    assert fetch_rows(ALIAS, "SELECT FROM shop_delivery WHERE stream = 'test:many' LIMIT 1") == []
    assert slowest < MAX_BATCH_SECONDS
