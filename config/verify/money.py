"""Money: the payments' own books, and the provider's, which for the sandbox lie in the same database."""

from config.verify.invariant import Invariant

PAYMENTS = ("payments",)

_BOUNDS = """
SELECT order_id AS subject,
       CASE WHEN NOT (0 <= refunded AND 0 <= pending AND refunded + pending <= captured
                      AND captured <= authorized AND authorized <= amount) THEN
                concat(status, ': refunded ', refunded, ' and ', pending, ' pending, captured ', captured,
                       ', authorized ', authorized, ', amount ', amount)
            WHEN status IN ('authorized', 'capturing', 'capture_refused') AND authorized <> amount THEN
                concat(status, ', but ', authorized, ' of ', amount, ' authorized')
            WHEN captured <> CASE WHEN status IN ('captured', 'refunding', 'refunded') THEN amount ELSE 0 END THEN
                concat(status, ', but ', captured, ' of ', amount, ' captured')
            WHEN status = 'refunded' AND refunded <> captured THEN
                concat('refunded, but only ', refunded, ' of ', captured)
       END AS problem
FROM payments_payment"""

_REFUNDS = """
SELECT order_id AS subject,
       CASE WHEN refunded <> coalesce(done, 0) THEN
                concat(refunded, ' refunded, but refunds of ', coalesce(done, 0), ' are done')
            WHEN pending <> coalesce(running, 0) OR refund_id IS DISTINCT FROM running_id THEN
                concat(pending, ' pending, but refunds of ', coalesce(running, 0), ' run')
            WHEN (status = 'refunding') <> (refund_id IS NOT NULL) THEN
                concat(status, CASE WHEN refund_id IS NULL THEN ' without' ELSE ' with' END, ' a running refund')
       END AS problem
FROM payments_payment payment
LEFT JOIN (SELECT payment_id, sum(amount) FILTER (WHERE status = 'done') AS done,
                  sum(amount) FILTER (WHERE status = 'pending') AS running,
                  min(id::text) FILTER (WHERE status = 'pending')::uuid AS running_id
           FROM payments_refund GROUP BY payment_id) refund ON payment_id = payment.id"""

_LEDGER = """
WITH booking AS (
    SELECT payment_id, booking, sum(amount) AS off, count(*) AS sides, min(currency) AS least, max(currency) AS most,
           sum(amount) FILTER (WHERE account = 'provider') AS moved
    FROM payments_ledgerentry GROUP BY payment_id, booking),
books AS (
    SELECT payment_id, bool_or(off <> 0 OR sides <> 2) AS lopsided, min(least) AS least, max(most) AS most,
           sum(moved) FILTER (WHERE booking = 'capture') AS came, -sum(moved) FILTER (WHERE booking <> 'capture') AS went
    FROM booking GROUP BY payment_id)
SELECT order_id AS subject,
       CASE WHEN lopsided THEN 'a booking does not sum to 0'
            WHEN coalesce(came, 0) <> captured THEN concat(captured, ' captured, but ', coalesce(came, 0), ' booked')
            WHEN coalesce(went, 0) <> refunded THEN concat(refunded, ' refunded, but ', coalesce(went, 0), ' booked')
            WHEN least <> currency OR most <> currency THEN concat('paid in ', currency, ', booked in ', least, ', ', most)
       END AS problem
FROM payments_payment LEFT JOIN books ON payment_id = id"""

# What runs may have happened there and not be written down here yet; of what rests, both say the same.
_PROVIDER = """
SELECT coalesce(order_id::text, intent.reference) AS subject,
       CASE WHEN payment.id IS NULL THEN concat('the provider has it as ', intent.status, ', and no payment knows of it')
            WHEN intent.reference IS NULL THEN
                CASE WHEN payment.authorized > 0 THEN concat(payment.status, ', and the provider knows nothing of it') END
            WHEN intent.amount > 0 AND (intent.amount, intent.currency) <> (payment.amount, payment.currency) THEN
                concat('asked for ', payment.amount, ' ', payment.currency, ', the provider has ',
                       intent.amount, ' ', intent.currency)
            WHEN intent.captured <> payment.captured
                 AND NOT (payment.status IN ('capturing', 'voiding') AND intent.captured = payment.amount) THEN
                concat(payment.status, ' with ', payment.captured, ' captured, by the provider ', intent.captured)
            WHEN intent.refunded <> payment.refunded AND intent.refunded <> payment.refunded + payment.pending THEN
                concat(payment.status, ' with ', payment.refunded, ' refunded, by the provider ', intent.refunded)
       END AS problem
FROM (SELECT * FROM payments_payment WHERE starts_with(reference, 'sb_')) payment
FULL JOIN payments_sandboxintent intent ON intent.reference = payment.reference"""

_CHARGED = """
SELECT coalesce(order_id::text, reference) AS subject,
       CASE WHEN charges > 1 THEN concat('charged ', charges, ' times')
            WHEN charges < 1 AND (intent.captured > 0 OR intent.status = 'authorized') THEN
                concat(intent.status, ', and never charged')
       END AS problem
FROM payments_sandboxintent intent LEFT JOIN payments_payment USING (reference)"""

_GIVEN_BACK = """
SELECT coalesce(ours.order_id::text, theirs.key) AS subject,
       CASE WHEN ours.id IS NULL THEN concat('the provider gave back ', theirs.amount, ', and no refund asked for that')
            WHEN theirs.key IS NULL AND ours.status = 'done' THEN
                concat(ours.amount, ' given back, and the provider knows nothing of it')
            WHEN ours.status = 'refused' AND theirs.key IS NOT NULL THEN 'refused, but the provider has done it'
            WHEN theirs.amount <> ours.amount THEN concat(ours.amount, ' asked for, ', theirs.amount, ' given back')
       END AS problem
FROM (SELECT order_id, refund.* FROM payments_refund refund JOIN payments_payment payment ON payment.id = payment_id
      WHERE starts_with(reference, 'sb_')) ours
FULL JOIN payments_sandboxrefund theirs ON theirs.key = ours.id::text"""

_LOOKED_AT = """
SELECT order_id AS subject,
       CASE WHEN due_at IS NULL THEN concat(status, ', and nobody will look at it again')
            WHEN due_at < now() - %(late)s AND (lease_until BETWEEN now() AND now() + %(late)s) IS NOT TRUE THEN
                concat(status, ', was to be looked at ', due_at)
            WHEN status <> 'requires_action' AND (%(at_rest)s
                 OR (status IN ('processing', 'unknown') AND created_at < now() - %(grace)s)
                 OR EXISTS (SELECT FROM payments_refund WHERE id = refund_id AND at < now() - %(grace)s)) THEN
                concat(status, ' after ', attempt, ' attempts')
       END AS problem
FROM payments_payment
WHERE status IN ('processing', 'unknown', 'requires_action', 'capturing', 'voiding', 'refunding')"""

_AUDITED = """
SELECT payment_id AS subject,
       CASE WHEN coalesce(refunds, 0) <> coalesce(audited, 0) THEN
           concat(coalesce(refunds, 0), ' refunds by staff, but ', coalesce(audited, 0), ' audited') END AS problem
FROM (SELECT payment_id::text, count(*) AS refunds FROM payments_refund WHERE actor <> '' GROUP BY payment_id) refund
FULL JOIN (SELECT object_id AS payment_id, count(*) AS audited FROM shop_auditentry
           WHERE object_type = 'payment' AND action = 'refund' AND actor <> ''
           GROUP BY object_id) entry USING (payment_id)"""

INVARIANTS = (
    Invariant(
        number=9, name="amounts_in_bounds", contexts=PAYMENTS, sql=_BOUNDS,
        says="0 ≤ refunded ≤ captured ≤ authorized ≤ amount for every payment, and the amounts fit its status.",
    ),
    Invariant(
        number=10, name="refunds_add_up", contexts=PAYMENTS, sql=_REFUNDS,
        says="What a payment has refunded is the sum of its refunds that are done; at most one runs, and is the pending one.",
    ),
    Invariant(
        number=11, name="ledger_balances", contexts=PAYMENTS, sql=_LEDGER,
        says="Both sides of every booking sum to 0 in the payment's currency, and the ledger says of every payment what was "
        "captured and refunded.",
    ),
    Invariant(
        number=12, name="provider_agrees", contexts=PAYMENTS, sql=_PROVIDER,
        says="The provider has captured and refunded what our books say, but for an operation that is running; and it has "
        "no intent that no payment knows of.",
    ),
    Invariant(
        number=13, name="charged_once", contexts=PAYMENTS, sql=_CHARGED,
        says="The provider has set money aside at most once for a payment, and took none that it had not.",
    ),
    Invariant(
        number=14, name="given_back_once", contexts=PAYMENTS, sql=_GIVEN_BACK,
        says="Every refund that is done was made by the provider, once and of that amount, and it made no other.",
    ),
    Invariant(
        number=15, name="payment_is_looked_at", contexts=PAYMENTS, sql=_LOOKED_AT, at_every_instant=False,
        says="No payment stays with an unknown outcome, or in the middle of an operation.",
    ),
    Invariant(
        number=16, name="refunds_audited", contexts=PAYMENTS, sql=_AUDITED,
        says="Every refund by staff has its entry in the audit trail, and the other way round.",
    ),
)  # fmt: skip
