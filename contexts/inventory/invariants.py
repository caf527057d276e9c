"""Invariants of stock and reservations, see shop/invariants.py."""

from shop.invariants import ContextInvariants, EventCounter, Extract, Invariant

_STOCK_BOUNDS_SQL = """
SELECT sku AS subject,
       CASE WHEN NOT (0 <= reserved AND reserved <= on_hand) THEN
           concat(reserved, ' reserved of ', on_hand, ' on hand') END AS problem
FROM inventory_stock"""

_STOCK_MOVEMENTS_SQL = """
SELECT sku AS subject,
       CASE WHEN stock.sku IS NULL THEN 'movements of a SKU without stock'
            WHEN on_hand <> initial + coalesce(moved, 0) THEN
                concat(on_hand, ' on hand, but initially ', initial, ' and movements of ', coalesce(moved, 0))
       END AS problem
FROM inventory_stock stock
FULL JOIN (SELECT sku, sum(quantity) AS moved FROM inventory_stockmovement GROUP BY sku) movement USING (sku)"""

_HELD_UNITS_SQL = """
SELECT sku AS subject,
       CASE WHEN stock.sku IS NULL THEN 'reservations of a SKU without stock'
            WHEN reserved <> coalesce(held, 0) THEN
                concat(reserved, ' reserved, but reservations hold ', coalesce(held, 0)) END AS problem
FROM inventory_stock stock
FULL JOIN (SELECT sku, sum(quantity) AS held
           FROM inventory_reservationline JOIN inventory_reservation USING (order_id)
           WHERE status = 'held' GROUP BY sku) reservation USING (sku)"""

# Events older than 30 days are deleted: only a history that is complete is compared.
_RESERVATION_PATH_SQL = """
SELECT order_id AS subject,
       CASE WHEN path IS NULL AND created_at > now() - interval '29 days' THEN concat(status, ', but no event published')
            WHEN first = 1 AND path !~ CASE status
                WHEN 'held' THEN '^held( due)*$'
                WHEN 'refused' THEN '^refused$'
                WHEN 'released' THEN '^(held( due)* )?released$'
                WHEN 'committed' THEN '^held( due)* committed$'
                WHEN 'restocked' THEN '^held( due)* committed released$'
                ELSE 'unknown status' END
            THEN concat(status, ' after ', path) END AS problem
FROM inventory_reservation
LEFT JOIN (SELECT split_part(stream, ':', 2) AS key, min(sequence) AS first,
                  string_agg(split_part(name, '_', 2), ' ' ORDER BY sequence) AS path
           FROM shop_outboxevent WHERE starts_with(stream, 'inventory.reservation:') GROUP BY stream) event
       ON key = order_id::text"""

_SALES_SQL = """
SELECT order_id AS subject,
       CASE WHEN status IS NULL THEN concat(sku, ': movements without a reservation')
            WHEN coalesce(sold, 0) <> CASE WHEN status IN ('committed', 'restocked') THEN quantity ELSE 0 END THEN
                concat(sku, ': ', status, ' with ', quantity, ' units, but ', coalesce(sold, 0), ' sold')
            WHEN coalesce(restocked, 0) <> CASE WHEN status = 'restocked' THEN quantity ELSE 0 END THEN
                concat(sku, ': ', status, ' with ', quantity, ' units, but ', coalesce(restocked, 0), ' restocked')
       END AS problem
FROM (SELECT order_id, sku, quantity, status
      FROM inventory_reservationline JOIN inventory_reservation USING (order_id)) line
FULL JOIN (SELECT order_id, sku, -sum(quantity) FILTER (WHERE kind = 'sale') AS sold,
                  sum(quantity) FILTER (WHERE kind = 'restock') AS restocked
           FROM inventory_stockmovement WHERE order_id IS NOT NULL GROUP BY order_id, sku) moved USING (order_id, sku)"""

_REFUSED_SQL = """
SELECT reservation.order_id AS subject,
       CASE WHEN quantity IS NULL THEN concat('refused for ', refused_sku, ', which was not requested')
            WHEN quantity <= refused_available THEN
                concat('refused ', quantity, ' of ', refused_sku, ' although ', refused_available, ' were available')
       END AS problem
FROM inventory_reservation reservation
LEFT JOIN inventory_reservationline line ON line.order_id = reservation.order_id AND sku = refused_sku
WHERE status = 'refused'"""

_HOLD_TIMER_SQL = """
SELECT order_id AS subject,
       CASE WHEN announce_at IS NULL THEN 'held, but no timer announces the end of the hold'
            WHEN announce_at < now() - %(late)s THEN
                concat('the end of the hold was due to be announced at ', announce_at) END AS problem
FROM inventory_reservation WHERE status = 'held'"""

_CURRENCY_SQL = """
SELECT sku AS subject,
       CASE WHEN currency <> %(currency)s THEN concat('priced in ', currency, ', but CURRENCY is ', %(currency)s::text)
       END AS problem
FROM inventory_variant"""

_AUDIT_SQL = """
SELECT sku AS subject,
       CASE WHEN coalesce(booked, 0) <> coalesce(audited, 0) THEN
           concat(coalesce(booked, 0), ' receipts and adjustments, but ', coalesce(audited, 0), ' audited') END AS problem
FROM (SELECT sku, count(*) AS booked FROM inventory_stockmovement
      WHERE kind IN ('receipt', 'adjustment') GROUP BY sku) movement
FULL JOIN (SELECT object_id AS sku, count(*) AS audited FROM shop_auditentry
           WHERE object_type = 'stock' AND action IN ('receipt', 'adjustment') AND actor <> ''
           GROUP BY object_id) entry USING (sku)"""

_MOVEMENT_KEY_SQL = """
SELECT uid AS subject,
       CASE WHEN movement.uid IS NULL THEN 'an idempotency key refers to a movement that does not exist'
            WHEN keys IS NULL THEN 'no idempotency key refers to it'
            WHEN keys > 1 THEN concat(keys, ' idempotency keys refer to it')
       END AS problem
FROM (SELECT uid FROM inventory_stockmovement WHERE uid IS NOT NULL) movement
FULL JOIN (SELECT resource AS uid, count(DISTINCT key) AS keys FROM shop_idempotencykey
           WHERE resource IS NOT NULL GROUP BY resource) key USING (uid)"""

_RESERVATIONS_EXTRACT_SQL = """
SELECT order_id::text, status, created_at < now() - %(grace)s, lines
FROM inventory_reservation
LEFT JOIN (SELECT order_id, string_agg(concat(quantity, ' × ', sku), ', ' ORDER BY sku COLLATE "C") AS lines
           FROM inventory_reservationline GROUP BY order_id) line USING (order_id)"""

DECLARATION = ContextInvariants(
    invariants=(
        Invariant(
            number=1,
            name="stock_within_bounds",
            description="For every SKU, 0 ≤ reserved ≤ on hand.",
            sql=_STOCK_BOUNDS_SQL,
        ),
        Invariant(
            number=2,
            name="stock_explained",
            description="The quantity on hand of a SKU is its initial quantity plus the sum of its stock movements.",
            sql=_STOCK_MOVEMENTS_SQL,
        ),
        Invariant(
            number=3,
            name="reserved_is_held",
            description="The reserved quantity of a SKU is the sum of its held reservations.",
            sql=_HELD_UNITS_SQL,
        ),
        Invariant(
            number=4,
            name="reservation_path",
            description="A reservation reached its status through legal transitions and published an event for each: "
            "held, then committed and restocked, or released; or refused.",
            sql=_RESERVATION_PATH_SQL,
        ),
        Invariant(
            number=5,
            name="sold_once",
            description="Each line of a committed reservation was sold exactly once, each line of a restocked one was "
            "restocked exactly once, and every movement for an order belongs to a reservation.",
            sql=_SALES_SQL,
        ),
        Invariant(
            number=6,
            name="refused_with_reason",
            description="A refusal for lack of stock names a SKU of which fewer units were available than requested.",
            sql=_REFUSED_SQL,
        ),
        Invariant(
            number=7,
            name="hold_is_watched",
            description="For every held reservation a timer announces the end of the hold to orders.",
            sql=_HOLD_TIMER_SQL,
            holds_always=False,
        ),
        Invariant(
            number=8,
            name="stock_changes_audited",
            description="Every receipt and adjustment of stock has its audit entry, and every such entry has its movement.",
            sql=_AUDIT_SQL,
        ),
        Invariant(
            number=53,
            name="movement_has_its_request",
            description="Every receipt and adjustment by the API has exactly one idempotency key, however old it is, and "
            "every key with a movement refers to one that exists.",
            sql=_MOVEMENT_KEY_SQL,
        ),
        Invariant(
            number=57,
            name="prices_in_one_currency",
            description="Every price is in the currency of the shop.",
            sql=_CURRENCY_SQL,
        ),
    ),
    required_constraints=(
        "reserved_within_on_hand",
        "reservation_status_known",
        "refusal_has_its_facts",
        "line_has_units",
        "movement_moves",
        "one_movement_per_uid",
    ),
    event_counters=(
        EventCounter(stream="inventory.reservation", table="inventory_reservation", key="order_id"),
        EventCounter(stream="inventory.stock", table="inventory_stock", key="sku", created_at=None),
    ),
    extracts=(
        Extract(
            table="reservations",
            columns="order_id, status, past_grace_period, lines",
            key="order_id",
            sql=_RESERVATIONS_EXTRACT_SQL,
        ),
    ),
)
