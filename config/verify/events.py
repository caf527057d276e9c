"""The kernel's tables, in every context: facts and their way, keys, guards, and whose tables these are."""

from config.verify.invariant import ALL, Invariant

_GAPS = """
SELECT stream AS subject,
       CASE WHEN max(sequence) - min(sequence) + 1 <> count(*) THEN
                concat(count(*), ' facts numbered ', min(sequence), ' to ', max(sequence))
            WHEN min(sequence) <> 1 AND min(occurred_at) > now() - interval '29 days' THEN
                concat('begins with ', min(sequence))
       END AS problem
FROM shop_outboxevent GROUP BY stream"""

# What has a row of its own counts its facts there. Facts older than 30 days are forgotten, the row is not.
_COUNTED = """
SELECT coalesce({key}::text, stream) AS subject,
       CASE WHEN aggregate.key IS NULL THEN 'facts about something that is not there'
            WHEN told <> sequence THEN concat('counts ', sequence, ' facts, and the last is ', told)
            WHEN told IS NULL AND sequence > 0 AND {young} THEN concat('counts ', sequence, ' facts, and there is none')
       END AS problem
FROM (SELECT {key} AS key, * FROM {table}) aggregate
FULL JOIN (SELECT stream, max(sequence) AS told FROM shop_outboxevent
           WHERE starts_with(stream, '{stream}:') GROUP BY stream) fact ON stream = concat('{stream}:', {key})"""
_YOUNG = "created_at > now() - interval '29 days'"


def _counted(stream: str, table: str, key: str = "id", young: str = _YOUNG) -> str:
    return _COUNTED.format(stream=stream, table=table, key=key, young=young)


_SEQUENCES = {
    "orders": _counted("orders.order", "orders_order"),
    "inventory": _counted("inventory.reservation", "inventory_reservation", "order_id")
    + " UNION ALL "
    + _counted("inventory.stock", "inventory_stock", "sku", young="false"),
    "payments": _counted("payments.payment", "payments_payment", "order_id"),
    "users": _counted("users.user", "users_user"),
    "notifications": _counted("notifications.message", "notifications_message"),
}

_DELIVERED = """
SELECT concat(event.stream, '#', event.sequence, ' to ', subscriber) AS subject,
       CASE WHEN delivery.stream <> event.stream OR delivery.sequence <> event.sequence THEN
                concat('filed as ', delivery.stream, '#', delivery.sequence)
            WHEN acknowledged_at IS NULL AND occurred_at < now() - %(grace)s THEN
                concat(name, ' of ', occurred_at, ' not delivered after ', attempts, ' attempts. ', left(error, 200))
       END AS problem
FROM shop_delivery delivery JOIN shop_outboxevent event ON event.id = event_id"""

_HANDLED = """
SELECT concat(handler, ' ', stream, '#', sequence) AS subject,
       CASE WHEN handled_at IS NULL AND parked_at IS NULL AND received_at < now() - %(grace)s
                 AND NOT (ordered AND EXISTS (
                     SELECT FROM shop_inboxrow earlier
                     WHERE earlier.handler = late.handler AND earlier.stream = late.stream
                       AND earlier.sequence < late.sequence AND earlier.parked_at IS NOT NULL)) THEN
           concat(name, ' received ', received_at, ', started ', attempt, ' times. ', left(error, 200)) END AS problem
FROM shop_inboxrow late"""

_PARKED = """
SELECT concat(handler, ' ', stream, '#', sequence) AS subject,
       CASE WHEN parked_at IS NOT NULL AND handled_at IS NULL THEN
           concat(name, ' parked ', parked_at, ' after ', failures, ' failures: ', left(error, 200)) END AS problem
FROM shop_inboxrow"""

_ONCE = """
SELECT concat(handler, ' ', event_id) AS subject,
       CASE WHEN count(*) > 1 THEN concat(count(*), ' rows: it may have been handled so often') END AS problem
FROM shop_inboxrow GROUP BY handler, event_id"""

_IN_ORDER = """
SELECT concat(handler, ' ', stream, '#', sequence) AS subject,
       CASE WHEN handled_at IS NOT NULL AND waiting THEN 'handled while an earlier one waits'
            WHEN handled_at < last THEN concat('handled ', handled_at, ', an earlier one ', last) END AS problem
FROM (SELECT *, bool_or(handled_at IS NULL) OVER earlier AS waiting, max(handled_at) OVER earlier AS last
      FROM shop_inboxrow WHERE ordered
      WINDOW earlier AS (PARTITION BY handler, stream ORDER BY sequence
                         ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)) row"""

_STATE = """
SELECT concat(handler, ' ', stream, '#', sequence) AS subject,
       CASE WHEN parked_at IS NOT NULL AND handled_at IS NOT NULL THEN 'parked and handled'
            WHEN parked_at IS NOT NULL AND error = '' THEN 'parked without a reason'
            WHEN discarded_because <> '' AND handled_at IS NULL THEN 'discarded, and still to be handled'
       END AS problem
FROM shop_inboxrow"""

_KEYS = """
SELECT concat(scope, ' ', left(key, 40)) AS subject,
       CASE WHEN count(*) > 1 THEN concat(count(*), ' rows for one key')
            WHEN bool_or((status IS NULL) <> (body IS NULL)) THEN 'half an answer'
            WHEN bool_or(resource IS NULL AND status IS NULL) THEN 'neither an effect nor an answer'
       END AS problem
FROM shop_idempotencykey GROUP BY scope, key"""

_KERNEL = ("one_event_per_sequence", "one_delivery_per_subscriber", "one_inbox_row_per_handler", "one_row_per_idempotency_key")
_OWN = {
    "orders": ("orders_order_number_key", "one_live_order_per_cart", "one_line_per_position", "one_item_per_sku_in_a_cart",
               "order_total_adds_up", "order_line_adds_up", "order_line_sane"),
    "inventory": ("reserved_within_on_hand", "reservation_status_known", "refusal_has_its_facts", "line_has_units",
                  "movement_moves"),
    "payments": ("payments_payment_order_id_key", "one_payment_per_reference", "one_running_refund", "payments_refund_key_key",
                 "refunds_within_captured", "captured_within_authorized", "booked_once", "append_only", "amounts_only_grow"),
    "users": ("users_user_email_key", "email_is_lower_case"),
    "notifications": ("one_message_per_subject", "message_fits_channel"),
}  # fmt: skip
_GUARDS = """
SELECT guard AS subject, CASE WHEN bool_or(works) IS NOT TRUE THEN 'is gone or switched off' END AS problem
FROM unnest(ARRAY[{guards}]) AS expected (guard)
LEFT JOIN (SELECT conname AS guard, convalidated AS works FROM pg_constraint
           UNION ALL SELECT relname, indisvalid FROM pg_index JOIN pg_class ON oid = indexrelid WHERE indisunique
           UNION ALL SELECT tgname, tgenabled IN ('O', 'A') FROM pg_trigger) there USING (guard)
GROUP BY guard"""


def _guards(context: str) -> str:
    return _GUARDS.format(guards=", ".join(f"'{guard}'" for guard in _KERNEL + _OWN[context]))


_TABLES = """
SELECT relname AS subject,
       CASE WHEN relkind = 'f' THEN 'a table of another server'
            WHEN split_part(relname, '_', 1) NOT IN ('{context}', 'shop', 'django') THEN 'no table of {context}'
       END AS problem
FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'f', 'v', 'm')
UNION ALL
SELECT extname, 'reaches into other databases' FROM pg_extension WHERE extname IN ('dblink', 'postgres_fdw')"""

INVARIANTS = (
    Invariant(
        number=24, name="stream_without_gaps", contexts=ALL, sql=_GAPS,
        says="The facts of a stream are numbered without a gap.",
    ),
    Invariant(
        number=25, name="facts_are_counted", contexts=ALL, sql=_SEQUENCES,
        says="Whatever announces facts has counted as many as there are: no change without its fact, and no fact about "
        "something that is not there.",
    ),
    Invariant(
        number=26, name="facts_are_delivered", contexts=ALL, sql=_DELIVERED, at_every_instant=False,
        says="Every fact was acknowledged by every context that it was to reach.",
    ),
    Invariant(
        number=27, name="facts_are_handled", contexts=ALL, sql=_HANDLED, at_every_instant=False,
        says="Every fact that was received was handled, unless an earlier one of its stream is parked.",
    ),
    Invariant(
        number=28, name="nothing_is_parked", contexts=ALL, sql=_PARKED, at_every_instant=False,
        says="No handler has given up on a fact, so that somebody has to look.",
    ),
    Invariant(
        number=29, name="handled_once", contexts=ALL, sql=_ONCE,
        says="A fact has one row for a handler: it had its effect once.",
    ),
    Invariant(
        number=30, name="handled_in_order", contexts=ALL, sql=_IN_ORDER,
        says="The facts of a stream were handled in their order, by handlers that are not declared to be indifferent to it.",
    ),
    Invariant(
        number=31, name="parked_with_reason", contexts=ALL, sql=_STATE,
        says="What is parked says why and can be replayed; what was discarded is done with.",
    ),
    Invariant(
        number=32, name="key_with_effect", contexts=ALL, sql=_KEYS,
        says="An Idempotency-Key is there once in its scope, and leads to an effect or an answer: it is never in flight alone.",
    ),
    Invariant(
        number=33, name="guards_are_on", contexts=ALL, sql={context: _guards(context) for context in ALL},
        says="The constraints, unique indexes and triggers that keep all this true are there and at work.",
    ),
    Invariant(
        number=34, name="own_tables_only", contexts=ALL, sql={context: _TABLES.format(context=context) for context in ALL},
        says="A context's database holds its own tables and the kernel's, and no way into another database.",
    ),
)  # fmt: skip
