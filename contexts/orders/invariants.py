"""Invariants of orders and of the requests that placed them, see shop/invariants.py."""

from shop.invariants import ContextInvariants, EventCounter, Extract, Invariant

# An order may be refused before it reserves stock: then its own row has the reason.
_REFUSED_SQL = """
SELECT id AS subject,
       CASE WHEN quantity IS NULL THEN concat('refused for ', refused.sku, ', which was not ordered')
            WHEN quantity <= available THEN
                concat('refused ', quantity, ' of ', refused.sku, ' although ', available, ' were available')
       END AS problem
FROM (SELECT id, refusal #>> '{facts,sku}' AS sku, (refusal #>> '{facts,available}')::bigint AS available
      FROM orders_order WHERE refusal ->> 'code' = 'inventory.out_of_stock') refused
LEFT JOIN (SELECT order_id, sku, sum(quantity) AS quantity FROM orders_orderline GROUP BY order_id, sku) line
       ON order_id = id AND line.sku = refused.sku"""

_STEP_SQL = """
SELECT id AS subject,
       CASE WHEN (status, step) NOT IN (
                ('pending', 'reserving'), ('pending', 'authorizing'), ('pending', 'confirming'),
                ('confirmed', 'capturing'), ('confirmed', 'done'), ('on_hold', 'capturing'),
                ('shipped', 'done'), ('delivered', 'done'),
                ('rejected', 'undo_money'), ('rejected', 'undo_stock'), ('rejected', 'closed'),
                ('cancelled', 'undo_money'), ('cancelled', 'undo_stock'), ('cancelled', 'closed'))
            THEN concat(status, ' in step ', step)
            WHEN (status = 'rejected') <> (refusal IS NOT NULL) THEN
                concat(status, CASE WHEN refusal IS NULL THEN ' without' ELSE ' with' END, ' a refusal')
       END AS problem
FROM orders_order"""

_PATH_SQL = """
SELECT order_id AS subject,
       CASE WHEN placed.id IS NULL THEN concat(path, ' published without an order')
            WHEN path IS NULL AND created_at > now() - interval '29 days' THEN concat(status, ', but no event published')
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
                                        FROM jsonb_array_elements(timeline) WITH ORDINALITY AS item (entry, number)) THEN
                concat('published ', path, ', but the timeline has ', jsonb_path_query_array(timeline, '$[*].kind'))
       END AS problem
FROM (SELECT *, id::text AS order_id FROM orders_order) placed
FULL JOIN (SELECT split_part(stream, ':', 2) AS order_id, min(sequence) AS first,
                  string_agg(replace(split_part(name, '.order_', 2), 'put_', ''), ' ' ORDER BY sequence) AS path
           FROM shop_outboxevent WHERE starts_with(stream, 'orders.order:') GROUP BY stream) event USING (order_id)"""

_TOTAL_SQL = """
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

# Lines and carts of an older release have no currency.
_CURRENCY_SQL = """
SELECT id AS subject,
       CASE WHEN offered IS NOT NULL THEN concat('in ', currency, ', but a line was offered in ', offered)
            WHEN cart IS NOT NULL THEN concat('in ', currency, ', but its cart was in ', cart)
            WHEN published IS NOT NULL THEN concat('in ', currency, ', but published in ', published)
       END AS problem
FROM (SELECT id, currency,
             (SELECT min(line.currency) FROM orders_orderline line
              WHERE order_id = placed.id AND line.currency NOT IN ('', placed.currency)) AS offered,
             (SELECT cart.currency FROM orders_cart cart
              WHERE cart.id = cart_id AND cart.currency NOT IN ('', placed.currency)) AS cart,
             (SELECT min(payload #>> '{total,currency}') FROM shop_outboxevent
              WHERE stream = concat('orders.order:', placed.id) AND payload #>> '{total,currency}' <> placed.currency
             ) AS published
      FROM orders_order placed) checked"""

_UNFINISHED_SQL = """
SELECT id AS subject,
       CASE WHEN step NOT IN ('done', 'closed') AND due_at IS NULL THEN concat(step, ', but no timer is set')
            WHEN idle AND due_at < now() - %(late)s THEN concat(step, ', overdue since ', due_at)
            WHEN idle AND cancel_requested_at < now() - %(grace)s AND status IN ('pending', 'confirmed', 'on_hold') THEN
                concat(step, ', although cancellation was requested at ', cancel_requested_at)
            WHEN idle AND (status = 'pending' OR status = 'on_hold') AND expires_at < now() - %(late)s THEN
                concat(status, ', although it expired at ', expires_at)
            WHEN idle AND past_grace_period AND status <> 'on_hold' AND step NOT IN ('authorizing', 'done', 'closed') THEN
                concat(status, ' and still ', step, ' after ', tries, ' tries')
       END AS problem
FROM (SELECT *, (lease_until BETWEEN now() AND now() + %(late)s) IS NOT TRUE AS idle,
             coalesce((timeline -> -1 ->> 'at')::timestamptz, created_at) < now() - %(grace)s AS past_grace_period
      FROM orders_order) placed"""

# Since this migration a key is kept as long as its order. Before, it was deleted after 72 hours.
_KEY_SQL = """
SELECT order_id AS subject,
       CASE WHEN placed.id IS NULL THEN 'an idempotency key refers to an order that does not exist'
            WHEN keys IS NULL AND created_at > (
                SELECT min(applied) - interval '71 hours' FROM django_migrations
                WHERE app = 'shop' AND name = '0006_keys_of_resources') THEN 'no idempotency key refers to it'
            WHEN keys > 1 THEN concat(keys, ' idempotency keys refer to it')
       END AS problem
FROM (SELECT *, id AS order_id FROM orders_order) placed
FULL JOIN (SELECT resource AS order_id, count(DISTINCT key) AS keys FROM shop_idempotencykey
           WHERE resource IS NOT NULL AND scope NOT LIKE '%%/payment' -- of an attempt to pay an order again
           GROUP BY resource) key USING (order_id)"""

_RESPONSE_SQL = """
SELECT resource AS subject,
       CASE WHEN key.status NOT IN (201, 402, 409) THEN concat('the stored response has status ', key.status)
            WHEN key.status = 201 AND NOT timeline @> '[{"kind": "confirmed"}]' THEN 'answered 201, but never confirmed'
            WHEN key.status <> 201 AND placed.status NOT IN ('rejected', 'cancelled') THEN
                concat('answered ', key.status, ', but is ', placed.status)
            WHEN position(resource::text IN convert_from(body, 'UTF8')) = 0 THEN 'the stored response is about another order'
            WHEN position('"token":"' IN convert_from(body, 'UTF8')) > 0 THEN 'the stored response has the token of the order'
       END AS problem
FROM shop_idempotencykey key JOIN orders_order placed ON placed.id = resource
WHERE key.status IS NOT NULL"""

_CART_SQL = """
SELECT cart_id AS subject, CASE WHEN count(*) > 1 THEN concat(count(*), ' live orders') END AS problem
FROM orders_order WHERE cart_id IS NOT NULL AND status NOT IN ('rejected', 'cancelled') GROUP BY cart_id
UNION ALL
SELECT later.id, concat('placed from cart ', cart_id, ', which was ordered before as ', live.id)
FROM orders_order live JOIN orders_order later USING (cart_id)
WHERE live.status NOT IN ('rejected', 'cancelled')
  AND later.created_at > live.created_at + interval '2 seconds'  -- the clocks of two processes may differ
  AND later.created_at > (SELECT min(applied) FROM django_migrations WHERE app = 'orders' AND name = '0003_seen_price')"""

# `past_grace_period`: no process works on the order, and its last change is older than the grace period.
# `expected_messages`: the messages that its customer must have received. A refusal that was the response to the customer's
# request causes none.
_ORDERS_EXTRACT_SQL = """
SELECT id::text, placed.status, step, total, currency, user_id::text, payment_id::text,
       (lease_until BETWEEN now() AND now() + %(late)s) IS NOT TRUE
           AND coalesce((placed.timeline -> -1 ->> 'at')::timestamptz, created_at) < now() - %(grace)s, lines, made, refunded,
       ((payment.timeline -> -1 ->> 'at')::timestamptz < now() - %(grace)s) IS NOT FALSE,
       concat_ws(' ', CASE WHEN placed.timeline @> '[{"kind": "cancelled"}]' THEN 'order_cancelled' END,
                      CASE WHEN placed.timeline @> '[{"kind": "confirmed"}]' THEN 'order_confirmed' END,
                      CASE WHEN placed.timeline @> '[{"kind": "on_hold"}]' THEN 'order_put_on_hold' END,
                      nullif(rtrim(repeat('order_refunded ', refunds_told::int)), ''),
                      CASE WHEN placed.timeline @> '[{"kind": "rejected"}]'
                                AND (refusal -> 'is_answered') IS DISTINCT FROM 'true' THEN 'order_rejected' END)
FROM orders_order placed
LEFT JOIN (SELECT order_id, string_agg(concat(quantity, ' × ', sku), ', ' ORDER BY sku COLLATE "C") AS lines
           FROM (SELECT order_id, sku, sum(quantity) AS quantity FROM orders_orderline GROUP BY order_id, sku) line
           GROUP BY order_id) ordered ON order_id = id
LEFT JOIN orders_orderpayment payment ON payment.order_id = placed.id
LEFT JOIN LATERAL (SELECT string_agg(concat(refund ->> 'id', ' ', refund ->> 'amount'), ', '
                                     ORDER BY (refund ->> 'id') COLLATE "C")
                             FILTER (WHERE (refund -> 'failed') IS DISTINCT FROM 'true') AS made,
                          coalesce(sum((refund ->> 'cause' <> 'cancellation')::int), 0) AS refunds_told
                   FROM jsonb_array_elements(payment.refunds) AS item (refund)) refund ON true"""

# Eventually: the refunds may be read a moment after the amounts.
_PAYMENT_SQL = """
SELECT order_id AS subject,
       CASE WHEN refunded <> sum THEN concat(refunded, ' refunded, but the refunds sum to ', sum)
            WHEN number <> distinct_refunds THEN concat(number - distinct_refunds, ' refunds are recorded twice')
            WHEN number <> entries THEN concat(number, ' refunds, but ', entries, ' entries in the timeline')
       END AS problem
FROM orders_orderpayment
CROSS JOIN LATERAL (SELECT coalesce(sum((refund ->> 'amount')::bigint)
                               FILTER (WHERE (refund -> 'failed') IS DISTINCT FROM 'true'), 0) AS sum, count(*) AS number,
                           count(DISTINCT refund ->> 'id') AS distinct_refunds
                    FROM jsonb_array_elements(refunds) AS item (refund)) made
CROSS JOIN LATERAL (SELECT count(*) AS entries FROM jsonb_array_elements(timeline) AS item (entry)
                    WHERE entry ->> 'kind' = 'refunded') reported"""

_HOLD_SQL = """
SELECT hold.order_id AS subject,
       CASE WHEN min(hold.units) <> max(hold.units) OR min(hold.units) <> (
                SELECT sum(quantity) FROM orders_orderline line WHERE line.order_id = hold.order_id)
            THEN 'its hold limits do not count the units of its lines' END AS problem
FROM orders_unpaidhold hold GROUP BY hold.order_id
UNION ALL
SELECT id, 'waits for its payment, but is not counted by its hold limits' FROM orders_order
WHERE status = 'pending' AND step = 'authorizing' AND lease_until IS NULL AND hold_keys IS NOT NULL"""

DECLARATION = ContextInvariants(
    invariants=(
        Invariant(
            number=6,
            name="refused_with_reason",
            description="A refusal for lack of stock names a SKU of which fewer units were available than requested.",
            sql=_REFUSED_SQL,
        ),
        Invariant(
            number=17,
            name="step_fits_status",
            description="Status and step of an order are a pair of the state table; rejected orders, and no others, have "
            "a refusal.",
            sql=_STEP_SQL,
        ),
        Invariant(
            number=18,
            name="order_path",
            description="An order reached its status through legal transitions, published an event for each, and its "
            "timeline lists the same.",
            sql=_PATH_SQL,
        ),
        Invariant(
            number=19,
            name="order_adds_up",
            description="An order's total is the sum of its lines, less the discount, plus shipping and tax; each line is "
            "its quantity times the frozen unit price.",
            sql=_TOTAL_SQL,
        ),
        Invariant(
            number=20,
            name="order_comes_to_rest",
            description="Every order is final, or waits for its customer or payment provider with a running timer; "
            "requested cancellations are completed.",
            sql=_UNFINISHED_SQL,
            holds_always=False,
        ),
        Invariant(
            number=21,
            name="order_has_its_request",
            description="Every order has exactly one idempotency key, however old it is, and every key with an order refers "
            "to one that exists.",
            sql=_KEY_SQL,
        ),
        Invariant(
            number=22,
            name="answer_was_true",
            description="The final response that is stored with an idempotency key fits the order: 201 if it was "
            "confirmed, 402 or 409 if it was rejected or cancelled. It has no token of a guest.",
            sql=_RESPONSE_SQL,
        ),
        Invariant(
            number=23,
            name="one_order_per_cart",
            description="A cart has at most one live order, and no order is placed from it after that one.",
            sql=_CART_SQL,
        ),
        Invariant(
            number=56,
            name="order_refunds_add_up",
            description="The refunded amount of an order is the sum of its refunds that did not fail, and each refund is in "
            "its timeline once.",
            sql=_PAYMENT_SQL,
            holds_always=False,
        ),
        Invariant(
            number=58,
            name="order_in_one_currency",
            description="An order, the offers of its lines, its cart and its published totals have one currency.",
            sql=_CURRENCY_SQL,
        ),
        Invariant(
            number=63,
            name="unpaid_hold_adds_up",
            description="An order that waits for its payment is counted by its hold limits, with the units of its lines.",
            sql=_HOLD_SQL,
        ),
    ),
    required_constraints=(
        "order_is_held_once_by_subject",
        "orders_order_number_key",
        "one_live_order_per_cart",
        "one_line_per_position",
        "one_item_per_sku_in_a_cart",
        "order_total_adds_up",
        "order_line_adds_up",
        "order_line_sane",
        "order_refunds_within_captured",
    ),
    event_counters=(
        EventCounter(stream="orders.order", table="orders_order"),
        EventCounter(stream="orders.payment", table="orders_orderpayment", key="order_id", created_at=None),
    ),
    extracts=(
        Extract(
            table="orders",
            columns="id, status, step, total, currency, user_id, payment_id, past_grace_period, lines, "
            "refunds, refunded, refunds_past_grace_period, expected_messages",
            key="id",
            sql=_ORDERS_EXTRACT_SQL,
        ),
    ),
    # Last: an order records a compensation before it is requested and after it is done. Whatever another context has
    # undone by the time it is read is therefore already recorded in the order.
    read_order=1,
)
