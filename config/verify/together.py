"""Where the contexts' books must agree with each other. The SQL is SQLite's, over the tables of facts.py."""

from config.verify.invariant import ALL, Invariant

_STOCK_OF_CONFIRMED = """
SELECT orders.id AS subject,
       CASE WHEN reservation.status IS NULL THEN orders.status || ', and no stock was set aside'
            WHEN reservation.status <> 'committed' THEN orders.status || ', and its stock is ' || reservation.status
       END AS problem
FROM orders LEFT JOIN reservations reservation ON order_id = orders.id
WHERE orders.status IN ('confirmed', 'on_hold', 'shipped', 'delivered') AND orders.quiet"""

_LINES = """
SELECT orders.id AS subject,
       CASE WHEN reservation.lines <> orders.lines THEN
           'ordered ' || orders.lines || ', set aside ' || reservation.lines END AS problem
FROM orders JOIN reservations reservation ON order_id = orders.id
WHERE reservation.lines IS NOT NULL"""

_STOCK_OF_UNDONE = """
SELECT reservation.order_id AS subject,
       CASE WHEN orders.id IS NULL AND reservation.status IN ('held', 'committed', 'restocked') THEN
                reservation.status || ' for an order that is not there'
            WHEN orders.step = 'closed' AND reservation.status IN ('held', 'committed') THEN
                'the order is ' || orders.status || ', and its stock still ' || reservation.status
            WHEN orders.status NOT IN ('rejected', 'cancelled')
                 AND reservation.status IN ('refused', 'released', 'restocked') THEN
                'the order is ' || orders.status || ', and its stock is ' || reservation.status
       END AS problem
FROM reservations reservation LEFT JOIN orders ON orders.id = reservation.order_id
WHERE reservation.quiet AND (orders.id IS NULL OR orders.quiet)"""

_PAYMENT_OF_ORDER = """
SELECT payment.order_id AS subject,
       CASE WHEN orders.id IS NULL THEN 'payment ' || payment.id || ' for an order that is not there'
            WHEN orders.payment_id <> payment.id THEN 'the order has payment ' || orders.payment_id
            WHEN payment.amount <> orders.total OR payment.currency <> orders.currency THEN
                'the order comes to ' || orders.total || ' ' || orders.currency
                || ', the payment to ' || payment.amount || ' ' || payment.currency
       END AS problem
FROM payments payment LEFT JOIN orders ON orders.id = payment.order_id
WHERE provider <> '' AND payment.quiet AND (orders.id IS NULL OR orders.quiet)
UNION ALL
SELECT orders.id, CASE WHEN payment.id IS NULL THEN 'its payment ' || orders.payment_id || ' is not there' END
FROM orders LEFT JOIN payments payment ON payment.order_id = orders.id AND provider <> ''
WHERE orders.payment_id IS NOT NULL AND orders.quiet"""

_MONEY_OF_CONFIRMED = """
SELECT orders.id AS subject,
       CASE WHEN payment.id IS NULL THEN orders.status || ', and nothing was paid'
            WHEN orders.step = 'done' AND payment.captured <> orders.total THEN
                orders.status || ', and ' || payment.captured || ' of ' || orders.total || ' captured'
            WHEN orders.step <> 'done' AND payment.authorized <> orders.total THEN
                orders.status || ', and ' || payment.authorized || ' of ' || orders.total || ' authorized'
            WHEN orders.step <> 'done' AND payment.status IN ('voiding', 'voided') THEN
                orders.status || ', and its payment is ' || payment.status
       END AS problem
FROM orders LEFT JOIN payments payment ON order_id = orders.id AND provider <> ''
WHERE orders.status IN ('confirmed', 'on_hold', 'shipped', 'delivered') AND orders.quiet"""

_MONEY_OF_UNDONE = """
SELECT orders.id AS subject,
       CASE WHEN payment.status NOT IN ('declined', 'voided', 'refunded') OR payment.captured <> payment.refunded THEN
           orders.status || ', and its payment is ' || payment.status || ' with '
           || (payment.captured - payment.refunded) || ' kept' END AS problem
FROM orders LEFT JOIN payments payment ON order_id = orders.id
WHERE orders.step = 'closed' AND orders.quiet"""

_MONEY_HAS_ORDER = """
SELECT payment.order_id AS subject,
       CASE WHEN orders.id IS NULL THEN payment.captured - payment.refunded || ' kept for an order that is not there'
            WHEN orders.status NOT IN ('confirmed', 'on_hold', 'shipped', 'delivered') THEN
                payment.captured - payment.refunded || ' kept, and the order is ' || orders.status END AS problem
FROM payments payment LEFT JOIN orders ON orders.id = payment.order_id
WHERE payment.captured > payment.refunded AND payment.quiet AND (orders.id IS NULL OR orders.quiet)"""

_TOLD = """
SELECT orders.id AS subject,
       CASE WHEN coalesce(emails, '') <> told THEN 'was to hear of ' || told || ', e-mails are ' || coalesce(emails, 'none')
            WHEN user_id IS NOT NULL AND coalesce(in_app, '') <> told THEN
                'was to hear of ' || told || ', messages in the app are ' || coalesce(in_app, 'none')
       END AS problem
FROM (SELECT * FROM orders WHERE quiet) orders
LEFT JOIN (SELECT subject, emails, in_app FROM messages) message ON message.subject = orders.id"""

_ADDRESSEE = """
SELECT message.order_id AS subject,
       CASE WHEN orders.id IS NULL THEN 'a message about an order that is not there'
            WHEN message.people > 1 OR message.user_id <> coalesce(orders.user_id, '') THEN
                'the order is of ' || coalesce(orders.user_id, 'a guest') || ', the message for ' || message.user_id
       END AS problem
FROM messages message LEFT JOIN orders ON orders.id = message.order_id
WHERE message.order_id IS NOT NULL AND message.quiet"""

_WELCOME = """
SELECT people.id AS subject, CASE WHEN subject IS NULL THEN 'nobody said welcome' END AS problem
FROM people LEFT JOIN messages ON subject = people.id AND in_app = 'welcome'
WHERE people.quiet
UNION ALL
SELECT subject, CASE WHEN people.id IS NULL THEN 'a welcome to nobody' END
FROM messages LEFT JOIN people ON people.id = subject
WHERE in_app = 'welcome' AND messages.quiet"""

_RECEIVED = """
SELECT sent.place || ' to ' || subscriber AS subject,
       CASE WHEN received.event_id IS NULL THEN sent.name || ' was acknowledged, and never received' END AS problem
FROM sent LEFT JOIN received ON received.event_id = sent.event_id AND context = subscriber
WHERE acknowledged"""

_ANNOUNCED = """
SELECT received.place || ' for ' || handler AS subject,
       CASE WHEN sent.event_id IS NULL THEN received.name || ' was received, and never announced'
            WHEN (sent.place, sent.name, sent.digest) <> (received.place, received.name, received.digest) THEN
                'announced as ' || sent.name || ' ' || sent.place || ', received as ' || received.name || ', with '
                || CASE WHEN sent.digest = received.digest THEN 'the same' ELSE 'other' END || ' content'
       END AS problem
FROM received LEFT JOIN sent ON sent.event_id = received.event_id AND subscriber = context
WHERE received.quiet"""

STOCK, MONEY = ("inventory", "orders"), ("payments", "orders")
TOLD, WELCOME = ("notifications", "orders"), ("notifications", "users")


def _meet(number: int, name: str, contexts: tuple[str, ...], sql: str, says: str) -> Invariant:
    return Invariant(
        number=number, name=name, contexts=contexts, sql=sql, says=says, meet=True, at_every_instant=False
    )


INVARIANTS = (
    _meet(41, "confirmed_has_stock", STOCK, _STOCK_OF_CONFIRMED, "A confirmed order's stock was set aside and sold to it."),
    _meet(42, "stock_as_ordered", STOCK, _LINES, "What was set aside for an order are the units of its lines."),
    _meet(
        43, "stock_has_order", STOCK, _STOCK_OF_UNDONE,
        "Stock is held or sold for an order that lives, and was given back or refused of one that came to nothing.",
    ),
    _meet(
        44, "payment_as_ordered", MONEY, _PAYMENT_OF_ORDER,
        "An order and its payment know each other, and the payment is of the order's total.",
    ),
    _meet(
        45, "confirmed_is_paid", MONEY, _MONEY_OF_CONFIRMED,
        "A confirmed order's money is authorized, a done one's captured.",
    ),
    _meet(46, "undone_is_unpaid", MONEY, _MONEY_OF_UNDONE, "Of an order that came to nothing no money is kept or set aside."),
    _meet(
        47, "money_has_order", MONEY, _MONEY_HAS_ORDER,
        "All money that is kept is a confirmed order's; else it was given back.",
    ),
    _meet(
        48, "customer_was_told", TOLD, _TOLD,
        "A customer was told once of each end and turn of an order, and of nothing that did not happen.",
    ),
    _meet(49, "told_the_customer", TOLD, _ADDRESSEE, "A message about an order is for the customer whose order it is."),
    _meet(50, "customer_was_welcomed", WELCOME, _WELCOME, "Everybody who registered was welcomed, and nobody else."),
    _meet(51, "acknowledged_is_received", ALL, _RECEIVED, "What a context acknowledged lies in its inbox."),
    _meet(
        52, "received_was_announced", ALL, _ANNOUNCED,
        "What lies in an inbox was announced by its publisher, for that context, with that content.",
    ),
)  # fmt: skip
