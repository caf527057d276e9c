"""Orders: the way of each, what it comes to, and the request that it came from."""

from config.verify.invariant import Invariant

ORDERS = ("orders",)

_STEP = """
SELECT id AS subject,
       CASE WHEN (status, step) NOT IN (
                ('pending', 'reserving'), ('pending', 'authorizing'), ('pending', 'confirming'),
                ('confirmed', 'capturing'), ('confirmed', 'done'), ('on_hold', 'capturing'),
                ('shipped', 'done'), ('delivered', 'done'),
                ('rejected', 'undo_money'), ('rejected', 'undo_stock'), ('rejected', 'closed'),
                ('cancelled', 'undo_money'), ('cancelled', 'undo_stock'), ('cancelled', 'closed'))
            THEN concat(status, ' while ', step)
            WHEN (status = 'rejected') <> (refusal IS NOT NULL) THEN
                concat(status, CASE WHEN refusal IS NULL THEN ' without' ELSE ' with' END, ' a refusal')
       END AS problem
FROM orders_order"""

_PATH = """
SELECT order_id AS subject,
       CASE WHEN placed.id IS NULL THEN concat(path, ' was announced of no order')
            WHEN path IS NULL AND created_at > now() - interval '29 days' THEN concat(status, ', and nothing announced')
            WHEN first = 1 AND path !~ CASE status
                WHEN 'pending' THEN '^placed$'
                WHEN 'confirmed' THEN '^placed confirmed( on_hold)?( paid)?$'
                WHEN 'on_hold' THEN '^placed confirmed on_hold$'
                WHEN 'rejected' THEN '^placed rejected$'
                WHEN 'cancelled' THEN '^placed( confirmed( on_hold)?( paid)?)? cancelled$'
                ELSE '^placed confirmed( on_hold)? paid' END
            THEN concat(status, ' after ', path)
            WHEN step = 'done' AND first = 1 AND path !~ 'paid' THEN concat('done after ', path)
            WHEN first = 1 AND path IS DISTINCT FROM (SELECT string_agg(entry ->> 'kind', ' ' ORDER BY number)
                                        FROM jsonb_array_elements(timeline) WITH ORDINALITY AS told (entry, number)) THEN
                concat('announced ', path, ', and the timeline tells ', jsonb_path_query_array(timeline, '$[*].kind'))
       END AS problem
FROM (SELECT *, id::text AS order_id FROM orders_order) placed
FULL JOIN (SELECT split_part(stream, ':', 2) AS order_id, min(sequence) AS first,
                  string_agg(replace(split_part(name, '.order_', 2), 'put_', ''), ' ' ORDER BY sequence) AS path
           FROM shop_outboxevent WHERE starts_with(stream, 'orders.order:') GROUP BY stream) told USING (order_id)"""

_TOTAL = """
SELECT id AS subject,
       CASE WHEN lines IS NULL THEN 'no lines'
            WHEN wrong THEN 'a line is not its quantity times its price'
            WHEN positions <> lines THEN 'its lines are not numbered from 0'
            WHEN items_total <> sum THEN concat('items ', items_total, ', but the lines sum to ', sum)
            WHEN total <> items_total - discount_total + shipping_total + tax_total THEN concat('total ', total)
       END AS problem
FROM orders_order
LEFT JOIN (SELECT order_id, sum(total) AS sum, bool_or(total <> quantity * unit_price) AS wrong, count(*) AS lines,
                  max(position) + 1 AS positions
           FROM orders_orderline GROUP BY order_id) line ON order_id = id"""

_MOVES = """
SELECT id AS subject,
       CASE WHEN step NOT IN ('done', 'closed') AND due_at IS NULL THEN concat(step, ', and nobody will look at it again')
            WHEN idle AND due_at < now() - %(late)s THEN concat(step, ', was to be looked at ', due_at)
            WHEN idle AND cancel_requested_at < now() - %(grace)s AND status IN ('pending', 'confirmed', 'on_hold') THEN
                concat(step, ', though its cancel was requested ', cancel_requested_at)
            WHEN idle AND (status = 'pending' OR status = 'on_hold') AND expires_at < now() - %(late)s THEN
                concat(status, ', though its time was over ', expires_at)
            WHEN idle AND quiet AND status <> 'on_hold' AND step NOT IN ('authorizing', 'done', 'closed') THEN
                concat(status, ' and still ', step, ' after ', tries, ' tries')
       END AS problem
FROM (SELECT *, (lease_until BETWEEN now() AND now() + %(late)s) IS NOT TRUE AS idle,
             coalesce((timeline -> -1 ->> 'at')::timestamptz, created_at) < now() - %(grace)s AS quiet
      FROM orders_order) placed"""

# A key is forgotten after 72 hours, the order is not.
_KEY = """
SELECT order_id AS subject,
       CASE WHEN placed.id IS NULL THEN 'a key leads to an order that is not there'
            WHEN keys IS NULL AND created_at > now() - interval '71 hours' THEN 'no request asked for it'
            WHEN keys > 1 THEN concat(keys, ' keys lead to it')
       END AS problem
FROM (SELECT *, id AS order_id FROM orders_order) placed
FULL JOIN (SELECT resource AS order_id, count(*) AS keys FROM shop_idempotencykey
           WHERE resource IS NOT NULL GROUP BY resource) key USING (order_id)"""

_ANSWER = """
SELECT resource AS subject,
       CASE WHEN key.status NOT IN (201, 402, 409) THEN concat(key.status, ' was given as the final answer')
            WHEN key.status = 201 AND NOT timeline @> '[{"kind": "confirmed"}]' THEN 'answered 201, and never confirmed'
            WHEN key.status <> 201 AND placed.status NOT IN ('rejected', 'cancelled') THEN
                concat('answered ', key.status, ', and is ', placed.status)
            WHEN position(resource::text IN convert_from(body, 'UTF8')) = 0 THEN 'the answer is about something else'
       END AS problem
FROM shop_idempotencykey key JOIN orders_order placed ON placed.id = resource
WHERE key.status IS NOT NULL"""

_CART = """
SELECT cart_id AS subject, CASE WHEN count(*) > 1 THEN concat(count(*), ' live orders') END AS problem
FROM orders_order WHERE cart_id IS NOT NULL AND status NOT IN ('rejected', 'cancelled') GROUP BY cart_id"""

INVARIANTS = (
    Invariant(
        number=17, name="step_fits_status", contexts=ORDERS, sql=_STEP,
        says="Status and step of an order are a pair of the state table; rejected ones, and no others, say why.",
    ),
    Invariant(
        number=18, name="order_path", contexts=ORDERS, sql=_PATH,
        says="An order came to its status by a legal path, each step announced, and its timeline tells the same.",
    ),
    Invariant(
        number=19, name="order_adds_up", contexts=ORDERS, sql=_TOTAL,
        says="An order's total is the sum of its lines, less the discount, with shipping and tax; each line is its quantity "
        "times the price that was frozen.",
    ),
    Invariant(
        number=20, name="order_comes_to_rest", contexts=ORDERS, sql=_MOVES, at_every_instant=False,
        says="Every order is final, or waits for its customer or provider with a timer that runs; a cancel is carried out.",
    ),
    Invariant(
        number=21, name="order_has_its_request", contexts=ORDERS, sql=_KEY,
        says="Every order was asked for by one Idempotency-Key, and every key that led to an order leads to one that is there.",
    ),
    Invariant(
        number=22, name="answer_was_true", contexts=ORDERS, sql=_ANSWER,
        says="The final answer that was stored with a key is what became of its order: 201 where it was confirmed, 402 or 409 "
        "where it came to nothing.",
    ),
    Invariant(
        number=23, name="one_order_per_cart", contexts=ORDERS, sql=_CART,
        says="A cart has at most one live order.",
    ),
)  # fmt: skip
