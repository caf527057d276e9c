"""Stock: what lies on the shelf, what is set aside, and who got it."""

from config.verify.invariant import Invariant

INVENTORY = ("inventory",)

_BOUNDS = """
SELECT sku AS subject,
       CASE WHEN NOT (0 <= reserved AND reserved <= on_hand) THEN
           concat(reserved, ' reserved of ', on_hand, ' on hand') END AS problem
FROM inventory_stock"""

_EXPLAINED = """
SELECT sku AS subject,
       CASE WHEN stock.sku IS NULL THEN 'units moved of a SKU without stock'
            WHEN on_hand <> initial + coalesce(moved, 0) THEN
                concat(on_hand, ' on hand, but ', initial, ' at first and ', coalesce(moved, 0), ' moved') END AS problem
FROM inventory_stock stock
FULL JOIN (SELECT sku, sum(quantity) AS moved FROM inventory_stockmovement GROUP BY sku) movement USING (sku)"""

_HELD = """
SELECT sku AS subject,
       CASE WHEN stock.sku IS NULL THEN 'units are held of a SKU without stock'
            WHEN reserved <> coalesce(held, 0) THEN
                concat(reserved, ' reserved, but reservations hold ', coalesce(held, 0)) END AS problem
FROM inventory_stock stock
FULL JOIN (SELECT sku, sum(quantity) AS held
           FROM inventory_reservationline JOIN inventory_reservation USING (order_id)
           WHERE status = 'held' GROUP BY sku) reservation USING (sku)"""

# Facts older than 30 days are forgotten: a path is judged from its beginning only.
_PATH = """
SELECT order_id AS subject,
       CASE WHEN path IS NULL AND created_at > now() - interval '29 days' THEN concat(status, ', and nothing announced')
            WHEN first = 1 AND path !~ CASE status
                WHEN 'held' THEN '^held( due)*$'
                WHEN 'refused' THEN '^refused$'
                WHEN 'released' THEN '^(held( due)* )?released$'
                WHEN 'committed' THEN '^held( due)* committed$'
                WHEN 'restocked' THEN '^held( due)* committed released$'
                ELSE 'no such status' END
            THEN concat(status, ' after ', path) END AS problem
FROM inventory_reservation
LEFT JOIN (SELECT split_part(stream, ':', 2) AS key, min(sequence) AS first,
                  string_agg(split_part(name, '_', 2), ' ' ORDER BY sequence) AS path
           FROM shop_outboxevent WHERE starts_with(stream, 'inventory.reservation:') GROUP BY stream) told
       ON key = order_id::text"""

_MOVED = """
SELECT order_id AS subject,
       CASE WHEN status IS NULL THEN concat(sku, ': units moved that no reservation names')
            WHEN coalesce(sold, 0) <> CASE WHEN status IN ('committed', 'restocked') THEN quantity ELSE 0 END THEN
                concat(sku, ': ', status, ' with ', quantity, ' units, but ', coalesce(sold, 0), ' were sold')
            WHEN coalesce(back, 0) <> CASE WHEN status = 'restocked' THEN quantity ELSE 0 END THEN
                concat(sku, ': ', status, ' with ', quantity, ' units, but ', coalesce(back, 0), ' came back')
       END AS problem
FROM (SELECT order_id, sku, quantity, status
      FROM inventory_reservationline JOIN inventory_reservation USING (order_id)) wanted
FULL JOIN (SELECT order_id, sku, -sum(quantity) FILTER (WHERE kind = 'sale') AS sold,
                  sum(quantity) FILTER (WHERE kind = 'restock') AS back
           FROM inventory_stockmovement WHERE order_id IS NOT NULL GROUP BY order_id, sku) moved USING (order_id, sku)"""

_REFUSED = """
SELECT reservation.order_id AS subject,
       CASE WHEN quantity IS NULL THEN concat('refused for ', refused_sku, ', which was not asked for')
            WHEN quantity <= refused_available THEN
                concat('refused ', quantity, ' of ', refused_sku, ' while ', refused_available, ' were there')
       END AS problem
FROM inventory_reservation reservation
LEFT JOIN inventory_reservationline line ON line.order_id = reservation.order_id AND sku = refused_sku
WHERE status = 'refused'"""

# An order may be refused before it asks for stock: then its own row says why.
_REFUSED_ORDER = """
SELECT id AS subject,
       CASE WHEN quantity IS NULL THEN concat('refused for ', refused.sku, ', which was not ordered')
            WHEN quantity <= available THEN
                concat('refused ', quantity, ' of ', refused.sku, ' while ', available, ' were there')
       END AS problem
FROM (SELECT id, refusal #>> '{facts,sku}' AS sku, (refusal #>> '{facts,available}')::bigint AS available
      FROM orders_order WHERE refusal ->> 'code' = 'inventory.out_of_stock') refused
LEFT JOIN (SELECT order_id, sku, sum(quantity) AS quantity FROM orders_orderline GROUP BY order_id, sku) line
       ON order_id = id AND line.sku = refused.sku"""

_ANNOUNCED = """
SELECT order_id AS subject,
       CASE WHEN announce_at IS NULL THEN 'held, and orders will never be told that it is over'
            WHEN announce_at < now() - %(late)s THEN
                concat('overdue since ', announce_at, ', and orders was not told') END AS problem
FROM inventory_reservation WHERE status = 'held'"""

_AUDITED = """
SELECT sku AS subject,
       CASE WHEN coalesce(booked, 0) <> coalesce(audited, 0) THEN
           concat(coalesce(booked, 0), ' receipts and adjustments, but ', coalesce(audited, 0), ' audited') END AS problem
FROM (SELECT sku, count(*) AS booked FROM inventory_stockmovement
      WHERE kind IN ('receipt', 'adjustment') GROUP BY sku) movement
FULL JOIN (SELECT object_id AS sku, count(*) AS audited FROM shop_auditentry
           WHERE object_type = 'stock' AND action IN ('receipt', 'adjustment') AND actor <> ''
           GROUP BY object_id) entry USING (sku)"""

INVARIANTS = (
    Invariant(
        number=1, name="stock_within_bounds", contexts=INVENTORY, sql=_BOUNDS,
        says="Of no SKU more is reserved than is on hand, nor less than nothing.",
    ),
    Invariant(
        number=2, name="stock_explained", contexts=INVENTORY, sql=_EXPLAINED,
        says="What is on hand of a SKU is what there was at first and the sum of its movements.",
    ),
    Invariant(
        number=3, name="reserved_is_held", contexts=INVENTORY, sql=_HELD,
        says="What is reserved of a SKU is the sum of the reservations that are held.",
    ),
    Invariant(
        number=4, name="reservation_path", contexts=INVENTORY, sql=_PATH,
        says="A reservation came to its status by a legal path, each step announced: held, and then committed and "
        "restocked, or released; or refused.",
    ),
    Invariant(
        number=5, name="sold_once", contexts=INVENTORY, sql=_MOVED,
        says="Of a committed reservation each line left the shelf exactly once, of a restocked one it came back exactly "
        "once, and nothing moves for an order that no reservation names.",
    ),
    Invariant(
        number=6, name="refused_with_reason", contexts=("inventory", "orders"),
        sql={"inventory": _REFUSED, "orders": _REFUSED_ORDER},
        says="Nobody was refused what was there: a refusal names a SKU of which there was less than was asked for.",
    ),
    Invariant(
        number=7, name="hold_is_watched", contexts=INVENTORY, sql=_ANNOUNCED, at_every_instant=False,
        says="Of every held reservation orders is told when its time is over.",
    ),
    Invariant(
        number=8, name="stock_changes_audited", contexts=INVENTORY, sql=_AUDITED,
        says="Every receipt and adjustment of stock has its entry in the audit trail, and the other way round.",
    ),
)  # fmt: skip
