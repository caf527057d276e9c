"""Invariants of the kernel's tables, which every context has: outbox, inbox, idempotency keys, guards."""

from collections.abc import Mapping

from shop.invariants import ContextInvariants, EventCounter, Extract, Invariant

_GAPS_SQL = """
SELECT stream AS subject,
       CASE WHEN max(sequence) - min(sequence) + 1 <> count(*) THEN
                concat(count(*), ' events numbered ', min(sequence), ' to ', max(sequence))
            WHEN min(sequence) <> 1 AND min(occurred_at) > now() - interval '29 days' THEN
                concat('starts at ', min(sequence))
       END AS problem
FROM shop_outboxevent GROUP BY stream"""

# Events older than 30 days are deleted, the row that counts them is not.
_COUNTER_SQL = """
SELECT coalesce({key}::text, stream) AS subject,
       CASE WHEN aggregate.key IS NULL THEN 'events about a row that does not exist'
            WHEN last <> sequence THEN concat('sequence is ', sequence, ', but the last event has ', last)
            WHEN last IS NULL AND sequence > 0 AND {is_recent} THEN concat('sequence is ', sequence, ', but there is no event')
       END AS problem
FROM (SELECT {key} AS key, * FROM {table}) aggregate
FULL JOIN (SELECT stream, max(sequence) AS last FROM shop_outboxevent
           WHERE starts_with(stream, '{stream}:') GROUP BY stream) event ON stream = concat('{stream}:', {key})"""


def _build_counter_sql(counter: EventCounter) -> str:
    is_recent = f"{counter.created_at} > now() - interval '29 days'" if counter.created_at else "false"
    return _COUNTER_SQL.format(stream=counter.stream, table=counter.table, key=counter.key, is_recent=is_recent)


def _build_counters_sql(declaration: ContextInvariants) -> str:
    return " UNION ALL ".join(map(_build_counter_sql, declaration.event_counters)) or _NOTHING_TO_CHECK_SQL


_NOTHING_TO_CHECK_SQL = "SELECT '' AS subject, NULL AS problem WHERE false"

_DELIVERIES_SQL = """
SELECT concat(event.stream, '#', event.sequence, ' to ', subscriber) AS subject,
       CASE WHEN delivery.stream <> event.stream OR delivery.sequence <> event.sequence THEN
                concat('recorded as ', delivery.stream, '#', delivery.sequence)
            WHEN acknowledged_at IS NULL AND parked_at IS NULL AND occurred_at < now() - %(grace)s THEN
                concat(name, ' of ', occurred_at, ' not delivered after ', attempts, ' attempts. ', left(error, 200))
       END AS problem
FROM shop_delivery delivery JOIN shop_outboxevent event ON event.id = event_id"""

_UNHANDLED_SQL = """
SELECT concat(handler, ' ', stream, '#', sequence) AS subject,
       CASE WHEN handled_at IS NULL AND parked_at IS NULL AND received_at < now() - %(grace)s
                 AND NOT (ordered AND EXISTS (
                     SELECT FROM shop_inboxrow earlier
                     WHERE earlier.handler = late.handler AND earlier.stream = late.stream
                       AND earlier.sequence < late.sequence AND earlier.parked_at IS NOT NULL)) THEN
           concat(name, ' received ', received_at, ', started ', attempt, ' times. ', left(error, 200)) END AS problem
FROM shop_inboxrow late"""

_PARKED_SQL = """
SELECT concat(handler, ' ', stream, '#', sequence) AS subject,
       CASE WHEN parked_at IS NOT NULL AND handled_at IS NULL THEN
           concat(name, ' parked ', parked_at, ' after ', failures, ' failures: ', left(error, 200)) END AS problem
FROM shop_inboxrow
UNION ALL
SELECT concat(event.stream, '#', event.sequence, ' to ', subscriber),
       CASE WHEN parked_at IS NOT NULL AND acknowledged_at IS NULL THEN
           concat(name, ' parked ', parked_at, ', refused since ', refused_since, ': ', left(error, 200)) END
FROM shop_delivery JOIN shop_outboxevent event ON event.id = event_id"""

_DUPLICATES_SQL = """
SELECT concat(handler, ' ', event_id) AS subject,
       CASE WHEN count(*) > 1 THEN concat(count(*), ' inbox rows') END AS problem
FROM shop_inboxrow GROUP BY handler, event_id"""

_ORDER_SQL = """
SELECT concat(handler, ' ', stream, '#', sequence) AS subject,
       CASE WHEN handled_at IS NOT NULL AND waiting THEN 'handled before an earlier event'
            WHEN handled_at < last THEN concat('handled ', handled_at, ', an earlier event ', last) END AS problem
FROM (SELECT *, bool_or(handled_at IS NULL AND in_order) OVER earlier AS waiting,
             max(handled_at) FILTER (WHERE in_order) OVER earlier AS last
      FROM (SELECT *, NOT coalesce((envelope ->> 'was_parked')::boolean, false) AS in_order FROM shop_inboxrow) received
      WHERE ordered
      WINDOW earlier AS (PARTITION BY handler, stream ORDER BY sequence
                         ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)) row"""

_PARKED_STATE_SQL = """
SELECT concat(handler, ' ', stream, '#', sequence) AS subject,
       CASE WHEN parked_at IS NOT NULL AND handled_at IS NOT NULL THEN 'parked and handled'
            WHEN parked_at IS NOT NULL AND error = '' THEN 'parked without a reason'
            WHEN discarded_because <> '' AND handled_at IS NULL THEN 'discarded, but not marked as handled'
       END AS problem
FROM shop_inboxrow
UNION ALL
SELECT concat(stream, '#', sequence, ' to ', subscriber),
       CASE WHEN parked_at IS NOT NULL AND acknowledged_at IS NOT NULL THEN 'parked and acknowledged'
            WHEN parked_at IS NOT NULL AND error = '' THEN 'parked without a reason'
            WHEN acknowledged_at IS NULL AND (parked_at IS NULL) <> (due_at IS NOT NULL) THEN
                'neither due nor parked, or both'
            WHEN discarded_because <> '' AND acknowledged_at IS NULL THEN 'discarded, but not marked as acknowledged'
       END
FROM shop_delivery"""

_KEYS_SQL = """
SELECT concat(scope, ' ', left(key, 40)) AS subject,
       CASE WHEN count(*) > 1 THEN concat(count(*), ' rows for one key')
            WHEN bool_or((status IS NULL) <> (body IS NULL)) THEN 'a stored response without status or body'
            WHEN bool_or(resource IS NULL AND status IS NULL AND left(scope, 5) <> 'form ') THEN
                'neither a resource nor a response'
       END AS problem
FROM shop_idempotencykey GROUP BY scope, key"""

_KERNEL_GUARDS = (
    "one_event_per_sequence",
    "one_delivery_per_subscriber",
    "one_inbox_row_per_handler",
    "one_row_per_idempotency_key",
)
_GUARDS_SQL = """
SELECT guard AS subject, CASE WHEN bool_or(works) IS NOT TRUE THEN 'does not exist or is disabled' END AS problem
FROM unnest(ARRAY[{guards}]) AS expected (guard)
LEFT JOIN (SELECT conname AS guard, convalidated AS works FROM pg_constraint
           UNION ALL SELECT relname, indisvalid FROM pg_index JOIN pg_class ON oid = indexrelid WHERE indisunique
           UNION ALL SELECT tgname, tgenabled IN ('O', 'A') FROM pg_trigger) there USING (guard)
GROUP BY guard"""


def _build_guards_sql(declaration: ContextInvariants) -> str:
    return _GUARDS_SQL.format(
        guards=", ".join(f"'{guard}'" for guard in _KERNEL_GUARDS + declaration.required_constraints)
    )


_TABLES_SQL = """
SELECT relname AS subject,
       CASE WHEN relkind = 'f' THEN 'a foreign table'
            WHEN split_part(relname, '_', 1) NOT IN ('{context}', 'shop', 'django') THEN 'not a table of {context}'
       END AS problem
FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'f', 'v', 'm')
UNION ALL
SELECT extname, 'gives access to other databases' FROM pg_extension WHERE extname IN ('dblink', 'postgres_fdw')"""

# A rule that has no row did not run yet.
_PURGES_SQL = """
SELECT rule AS subject,
       CASE WHEN failures > 0 THEN concat('failed ', failures, ' times, the last time at ', failed_at, ': ', left(error, 200))
            WHEN behind_since < now() - interval '1 day' THEN concat('has left old rows since ', behind_since)
       END AS problem
FROM shop_purge"""

# Outbox and inbox delete rows after 30 days or more: rows younger than 28 days are compared with rows younger than 29.
_SENT_EXTRACT_SQL = """
SELECT event_id::text, subscriber, concat(event.stream, '#', event.sequence), name, md5(payload::text),
       acknowledged_at < now() - %(grace)s AND discarded_because = '' AND occurred_at > now() - interval '28 days'
FROM shop_delivery JOIN shop_outboxevent event ON event.id = event_id
WHERE occurred_at > now() - interval '29 days'"""

_RECEIVED_EXTRACT_SQL = """
SELECT event_id::text, %(context)s, concat(stream, '#', sequence), name,
       md5((envelope -> 'payload')::text), handler,
       received_at < now() - %(grace)s AND (envelope ->> 'occurred_at')::timestamptz > now() - interval '28 days'
FROM shop_inboxrow WHERE received_at > now() - interval '29 days'"""

EXTRACTS = (
    Extract(
        table="sent",
        columns="event_id, subscriber, position, name, digest, acknowledged",
        key="event_id",
        sql=_SENT_EXTRACT_SQL,
    ),
    Extract(
        table="received",
        columns="event_id, context, position, name, digest, handler, past_grace_period",
        key="event_id",
        sql=_RECEIVED_EXTRACT_SQL,
    ),
)


def build_invariants(declarations: Mapping[str, ContextInvariants]) -> tuple[Invariant, ...]:
    """Return the invariants of the kernel's tables for the contexts with these declarations."""
    contexts = tuple(declarations)
    return (
        *_build_outbox_invariants(declarations),
        *_build_inbox_invariants(contexts),
        Invariant(
            number=32,
            name="key_with_effect",
            description="An idempotency key exists once in its scope and has a resource or a stored response. The token of a "
            "form of the admin has neither.",
            contexts=contexts,
            sql=_KEYS_SQL,
        ),
        Invariant(
            number=33,
            name="guards_are_on",
            description="The constraints, unique indexes and triggers that enforce these invariants exist and are enabled.",
            contexts=contexts,
            sql={context: _build_guards_sql(declaration) for context, declaration in declarations.items()},
        ),
        Invariant(
            number=34,
            name="own_tables_only",
            description="A context's database has only its own tables and the kernel's, and no access to other databases.",
            contexts=contexts,
            sql={context: _TABLES_SQL.format(context=context) for context in contexts},
        ),
        Invariant(
            number=62,
            name="old_rows_are_deleted",
            description="Rows older than their retention are deleted: no purge fails, and none has left rows for a day.",
            contexts=contexts,
            sql=_PURGES_SQL,
            holds_always=False,
        ),
    )


def _build_outbox_invariants(declarations: Mapping[str, ContextInvariants]) -> tuple[Invariant, ...]:
    contexts = tuple(declarations)
    return (
        Invariant(
            number=24,
            name="stream_without_gaps",
            description="The events of a stream are numbered without gaps.",
            contexts=contexts,
            sql=_GAPS_SQL,
        ),
        Invariant(
            number=25,
            name="facts_are_counted",
            description="The sequence of a row equals the number of the last event about it: no change without its event, "
            "and no event about a row that does not exist.",
            contexts=contexts,
            sql={context: _build_counters_sql(declaration) for context, declaration in declarations.items()},
        ),
        Invariant(
            number=26,
            name="facts_are_delivered",
            description="Every subscriber of an event has acknowledged it, unless the delivery is parked.",
            contexts=contexts,
            sql=_DELIVERIES_SQL,
            holds_always=False,
        ),
    )


def _build_inbox_invariants(contexts: tuple[str, ...]) -> tuple[Invariant, ...]:
    return (
        Invariant(
            number=27,
            name="facts_are_handled",
            description="Every received event was handled, unless an earlier event of its stream is parked.",
            contexts=contexts,
            sql=_UNHANDLED_SQL,
            holds_always=False,
        ),
        Invariant(
            number=28,
            name="nothing_is_parked",
            description="No event is parked because its handler kept failing or its subscriber kept refusing it.",
            contexts=contexts,
            sql=_PARKED_SQL,
            holds_always=False,
        ),
        Invariant(
            number=29,
            name="handled_once",
            description="An event has one inbox row per handler, so each handler applies it once.",
            contexts=contexts,
            sql=_DUPLICATES_SQL,
        ),
        Invariant(
            number=30,
            name="handled_in_order",
            description="Handlers handle the events of a stream in order, unless they are declared as unordered. An event that "
            "was parked at its publisher may be handled after later ones.",
            contexts=contexts,
            sql=_ORDER_SQL,
        ),
        Invariant(
            number=31,
            name="parked_with_reason",
            description="A parked event has an error and can be replayed; a discarded one counts as handled or acknowledged; "
            "any other delivery is due.",
            contexts=contexts,
            sql=_PARKED_STATE_SQL,
        ),
    )
