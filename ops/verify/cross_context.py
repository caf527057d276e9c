"""Invariants that span contexts. Their SQL runs in SQLite, over the extracts that the contexts declare."""

from shop.invariants import Invariant

_CONFIRMED_STOCK_SQL = """
SELECT orders.id AS subject,
       CASE WHEN reservation.status IS NULL THEN orders.status || ', but there is no reservation'
            WHEN reservation.status <> 'committed' THEN orders.status || ', but its reservation is ' || reservation.status
       END AS problem
FROM orders LEFT JOIN reservations reservation ON order_id = orders.id
WHERE orders.status IN ('confirmed', 'on_hold', 'shipped', 'delivered') AND orders.past_grace_period"""

_RESERVED_LINES_SQL = """
SELECT orders.id AS subject,
       CASE WHEN reservation.lines <> orders.lines THEN
           'ordered ' || orders.lines || ', reserved ' || reservation.lines END AS problem
FROM orders JOIN reservations reservation ON order_id = orders.id
WHERE reservation.lines IS NOT NULL"""

_RESERVATION_ORDER_SQL = """
SELECT reservation.order_id AS subject,
       CASE WHEN orders.id IS NULL AND reservation.status IN ('held', 'committed', 'restocked') THEN
                reservation.status || ' for an order that does not exist'
            WHEN orders.step = 'closed' AND reservation.status IN ('held', 'committed') THEN
                'the order is ' || orders.status || ', but its reservation is still ' || reservation.status
            WHEN orders.status NOT IN ('rejected', 'cancelled')
                 AND reservation.status IN ('refused', 'released', 'restocked') THEN
                'the order is ' || orders.status || ', but its reservation is ' || reservation.status
       END AS problem
FROM reservations reservation LEFT JOIN orders ON orders.id = reservation.order_id
WHERE reservation.past_grace_period AND (orders.id IS NULL OR orders.past_grace_period)"""

_PAYMENT_ORDER_SQL = """
SELECT payment.order_id AS subject,
       CASE WHEN orders.id IS NULL THEN 'payment ' || payment.id || ' for an order that does not exist'
            WHEN orders.payment_id <> payment.id THEN 'the order has payment ' || orders.payment_id
            WHEN payment.amount <> orders.total OR payment.currency <> orders.currency THEN
                'the order total is ' || orders.total || ' ' || orders.currency
                || ', the payment amount ' || payment.amount || ' ' || payment.currency
       END AS problem
FROM payments payment LEFT JOIN orders ON orders.id = payment.order_id
WHERE provider <> '' AND payment.past_grace_period AND (orders.id IS NULL OR orders.past_grace_period)
UNION ALL
SELECT orders.id, CASE WHEN payment.id IS NULL THEN 'its payment ' || orders.payment_id || ' does not exist' END
FROM orders LEFT JOIN payments payment ON payment.order_id = orders.id AND provider <> ''
WHERE orders.payment_id IS NOT NULL AND orders.past_grace_period"""

_CONFIRMED_PAYMENT_SQL = """
SELECT orders.id AS subject,
       CASE WHEN payment.id IS NULL THEN orders.status || ', but there is no payment'
            WHEN orders.step = 'done' AND payment.captured <> orders.total THEN
                orders.status || ', but ' || payment.captured || ' of ' || orders.total || ' captured'
            WHEN orders.step <> 'done' AND payment.authorized <> orders.total THEN
                orders.status || ', but ' || payment.authorized || ' of ' || orders.total || ' authorized'
            WHEN orders.step <> 'done' AND payment.status IN ('voiding', 'voided') THEN
                orders.status || ', but its payment is ' || payment.status
       END AS problem
FROM orders LEFT JOIN payments payment ON order_id = orders.id AND provider <> ''
WHERE orders.status IN ('confirmed', 'on_hold', 'shipped', 'delivered') AND orders.past_grace_period"""

_CANCELLED_PAYMENT_SQL = """
SELECT orders.id AS subject,
       CASE WHEN payment.status NOT IN ('declined', 'voided', 'refunded', 'captured')
                 OR (payment.captured > payment.refunded + payment.waived + payment.disputed AND attention = '') THEN
           orders.status || ', but its payment is ' || payment.status || ' with '
           || (payment.captured - payment.refunded) || ' not refunded' END AS problem
FROM orders LEFT JOIN payments payment ON order_id = orders.id
WHERE orders.step = 'closed' AND orders.past_grace_period"""

_CAPTURED_ORDER_SQL = """
SELECT payment.order_id AS subject,
       CASE WHEN orders.id IS NULL THEN payment.captured - payment.refunded || ' captured for an order that does not exist'
            WHEN orders.status NOT IN ('confirmed', 'on_hold', 'shipped', 'delivered') THEN
                payment.captured - payment.refunded || ' captured, but the order is ' || orders.status END AS problem
FROM payments payment LEFT JOIN orders ON orders.id = payment.order_id
WHERE payment.captured > payment.refunded + payment.waived + payment.disputed AND attention = ''
      AND payment.past_grace_period AND (orders.id IS NULL OR orders.past_grace_period)"""

_REFUNDS_SQL = """
SELECT payment.order_id AS subject,
       CASE WHEN coalesce(payment.made, '') <> coalesce(orders.refunds, '') THEN
                'refunds of the payment: ' || coalesce(payment.made, 'none')
                || ', of the order: ' || coalesce(orders.refunds, 'none')
            WHEN payment.refunded <> orders.refunded THEN
                payment.refunded || ' refunded, ' || orders.refunded || ' according to the order'
       END AS problem
FROM payments payment JOIN orders ON orders.id = payment.order_id
WHERE (payment.made IS NOT NULL OR orders.refunds IS NOT NULL) AND payment.past_grace_period AND orders.past_grace_period
      AND orders.refunds_past_grace_period"""

_EXPECTED_MESSAGES_SQL = """
SELECT orders.id AS subject,
       CASE WHEN coalesce(emails, '') <> expected_messages THEN
                'expected messages: ' || expected_messages || ', e-mails: ' || coalesce(emails, 'none')
            WHEN user_id IS NOT NULL AND coalesce(in_app, '') <> expected_messages THEN
                'expected messages: ' || expected_messages || ', messages in the app: ' || coalesce(in_app, 'none')
       END AS problem
FROM (SELECT * FROM orders WHERE past_grace_period AND refunds_past_grace_period) orders
LEFT JOIN (SELECT subject, emails, in_app FROM messages) message ON message.subject = orders.id"""

_RECIPIENT_SQL = """
SELECT message.order_id AS subject,
       CASE WHEN orders.id IS NULL THEN 'a message about an order that does not exist'
            WHEN message.recipients > 1 OR message.user_id <> coalesce(orders.user_id, '') THEN
                'the order belongs to ' || coalesce(orders.user_id, 'a guest') || ', the message to ' || message.user_id
       END AS problem
FROM messages message LEFT JOIN orders ON orders.id = message.order_id
WHERE message.order_id IS NOT NULL AND message.past_grace_period"""

_WELCOME_SQL = """
SELECT users.id AS subject, CASE WHEN subject IS NULL THEN 'no welcome message' END AS problem
FROM users LEFT JOIN messages ON subject = users.id AND in_app = 'welcome'
WHERE users.past_grace_period
UNION ALL
SELECT subject, CASE WHEN users.id IS NULL THEN 'a welcome message, but no such user' END
FROM messages LEFT JOIN users ON users.id = subject
WHERE in_app = 'welcome' AND messages.past_grace_period"""

_ACKNOWLEDGED_SQL = """
SELECT sent.position || ' to ' || subscriber AS subject,
       CASE WHEN received.event_id IS NULL THEN sent.name || ' was acknowledged, but never received' END AS problem
FROM sent LEFT JOIN received ON received.event_id = sent.event_id AND context = subscriber
WHERE acknowledged"""

_PUBLISHED_SQL = """
SELECT received.position || ' for ' || handler AS subject,
       CASE WHEN sent.event_id IS NULL THEN received.name || ' was received, but never published'
            WHEN (sent.position, sent.name, sent.digest) <> (received.position, received.name, received.digest) THEN
                'published as ' || sent.name || ' ' || sent.position || ', received as ' || received.name || ' with '
                || CASE WHEN sent.digest = received.digest THEN 'the same' ELSE 'different' END || ' content'
       END AS problem
FROM received LEFT JOIN sent ON sent.event_id = received.event_id AND subscriber = context
WHERE received.past_grace_period"""

STOCK_CONTEXTS = ("inventory", "orders")
PAYMENT_CONTEXTS = ("payments", "orders")
MESSAGE_CONTEXTS = ("notifications", "orders")
WELCOME_CONTEXTS = ("notifications", "users")


def _cross_context_invariant(
    number: int, name: str, contexts: tuple[str, ...], sql: str, description: str
) -> Invariant:
    return Invariant(
        number=number,
        name=name,
        description=description,
        sql=sql,
        contexts=contexts,
        holds_always=False,
        is_cross_context=True,
    )


_ORDER_INVARIANTS = (
    _cross_context_invariant(
        41,
        "confirmed_has_stock",
        STOCK_CONTEXTS,
        _CONFIRMED_STOCK_SQL,
        "The reservation of a confirmed order is committed.",
    ),
    _cross_context_invariant(
        42,
        "stock_as_ordered",
        STOCK_CONTEXTS,
        _RESERVED_LINES_SQL,
        "The reservation of an order has the same units as its lines.",
    ),
    _cross_context_invariant(
        43,
        "stock_has_order",
        STOCK_CONTEXTS,
        _RESERVATION_ORDER_SQL,
        "A held or committed reservation belongs to a live order, a refused, released or restocked "
        "one to a rejected or cancelled order.",
    ),
    _cross_context_invariant(
        44,
        "payment_as_ordered",
        PAYMENT_CONTEXTS,
        _PAYMENT_ORDER_SQL,
        "An order and its payment refer to each other, and the payment has the order's total.",
    ),
    _cross_context_invariant(
        45,
        "confirmed_is_paid",
        PAYMENT_CONTEXTS,
        _CONFIRMED_PAYMENT_SQL,
        "The payment of a confirmed order is authorized, that of a completed one captured.",
    ),
    _cross_context_invariant(
        46,
        "undone_is_unpaid",
        PAYMENT_CONTEXTS,
        _CANCELLED_PAYMENT_SQL,
        "The payment of a rejected or cancelled order is declined, voided or refunded, or the rest is a task for staff.",
    ),
    _cross_context_invariant(
        47,
        "money_has_order",
        PAYMENT_CONTEXTS,
        _CAPTURED_ORDER_SQL,
        "Every payment that is captured and not refunded belongs to a confirmed order, or is a task for staff.",
    ),
    _cross_context_invariant(
        54,
        "refunds_reach_the_order",
        PAYMENT_CONTEXTS,
        _REFUNDS_SQL,
        "An order has the same refunds as its payment.",
    ),
    _cross_context_invariant(
        48,
        "customer_was_told",
        MESSAGE_CONTEXTS,
        _EXPECTED_MESSAGES_SQL,
        "A customer receives exactly one message for each reported change of an order's status and each refund, and no others.",
    ),
    _cross_context_invariant(
        49,
        "told_the_customer",
        MESSAGE_CONTEXTS,
        _RECIPIENT_SQL,
        "A message about an order is addressed to the customer of that order.",
    ),
    _cross_context_invariant(
        50,
        "customer_was_welcomed",
        WELCOME_CONTEXTS,
        _WELCOME_SQL,
        "Every registered user receives one welcome message, and no one else does.",
    ),
)


def build_invariants(all_contexts: tuple[str, ...]) -> tuple[Invariant, ...]:
    """Return the cross-context invariants. The event invariants use all contexts."""
    return (
        *_ORDER_INVARIANTS,
        _cross_context_invariant(
            51,
            "acknowledged_is_received",
            all_contexts,
            _ACKNOWLEDGED_SQL,
            "Every event that a context acknowledged is in its inbox.",
        ),
        _cross_context_invariant(
            52,
            "received_was_announced",
            all_contexts,
            _PUBLISHED_SQL,
            "Every event in an inbox was published for that context with the same content.",
        ),
    )
