"""Purging of many rows: every transaction is short, however many rows are old. `make test-retention`: a million."""

import os
import time
from itertools import pairwise
from statistics import median

import pytest

from shop import purging
from shop.db.database import execute, fetch_rows
from shop.db.retention import list_model_rules
from shop.models import CallCount, IdempotencyKey, OutboxEvent, RateLimit

ALIAS = "payments"
ROWS = int(os.environ.get("RETENTION_ROWS", "20000"))
ROWS_PER_INSERT = 50_000
MAX_GROWTH = 5.0  # of the time for a batch, from the first quarter of the batches to the last

INSERTS = {
    OutboxEvent: """
        INSERT INTO shop_outboxevent (id, name, version, stream, sequence, occurred_at, hops, correlation_id, causation_id,
                                      traceparent, payload)
        SELECT md5(number::text)::uuid, 'test', 1, 'test:many', number, now() - interval '40 days', 0, '', '', '', '{}'
        FROM generate_series(%(first)s, %(last)s) AS number;
        INSERT INTO shop_delivery (event_id, subscriber, stream, sequence, due_at, acknowledged_at)
        SELECT md5(number::text)::uuid, 'nobody', 'test:many', number, NULL, now()
        FROM generate_series(%(first)s, %(last)s) AS number""",
    IdempotencyKey: """
        INSERT INTO shop_idempotencykey (scope, key, fingerprint, status, body, created_at)
        SELECT 'test', number, '', 201, '', now() - interval '4 days' FROM generate_series(%(first)s, %(last)s) AS number""",
    CallCount: """
        INSERT INTO shop_callcount (minute, caller, method, nth, calls, failed, seconds)
        SELECT now() - interval '1 year' + number * interval '1 second', 'test', 'many', 0, 1, 0, 0
        FROM generate_series(%(first)s, %(last)s) AS number""",
    RateLimit: """
        INSERT INTO shop_ratelimit (subject, hits, quota, period, expires_at)
        SELECT md5(number::text), '{}', 1, interval '1 minute', now() - interval '1 minute'
        FROM generate_series(%(first)s, %(last)s) AS number""",
}


@pytest.mark.parametrize("model", INSERTS, ids=lambda model: model.__name__)
def test_the_oldest_rows_of_a_large_table_are_deleted_in_short_transactions(model):
    [rule] = list_model_rules(model)
    purging.purge_now(ALIAS, [rule])
    insert_rows(model)
    times, deleted = [time.monotonic()], 0
    for count in purging.delete_batches(ALIAS, rule):
        assert count <= 1_000
        deleted += count
        times.append(time.monotonic())
    assert deleted == ROWS
    assert fetch_rows(ALIAS, "SELECT FROM shop_delivery WHERE stream = 'test:many' LIMIT 1") == []
    seconds = [end - start for start, end in pairwise(times)]
    quarter = len(seconds) // 4
    first, last = median(seconds[:quarter]), median(seconds[-quarter - 1 : -1])
    print(
        f"{len(seconds)} batches: {1000 * first:.1f} ms, at the end {1000 * last:.1f} ms, at most {max(seconds):.2f} s"
    )
    assert last < MAX_GROWTH * first


def insert_rows(model):
    for first in range(1, ROWS + 1, ROWS_PER_INSERT):
        numbers = {"first": first, "last": min(ROWS, first + ROWS_PER_INSERT - 1)}
        for statement in INSERTS[model].split(";"):
            execute(ALIAS, statement % numbers)
    for table in {model._meta.db_table, "shop_delivery"}:
        execute(ALIAS, f"ANALYZE {table}")
