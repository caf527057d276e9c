"""Invariants of payments, refunds and the ledger, see shop/invariants.py.

They also compare with the tables of the sandbox provider, which are in the same database.
"""

from shop.invariants import ContextInvariants, EventCounter, Extract, Invariant

_AMOUNTS_SQL = """
SELECT order_id AS subject,
       CASE WHEN NOT (0 <= refunded AND 0 <= pending AND 0 <= waived AND 0 <= disputed
                      AND refunded + pending + waived <= captured AND refunded_elsewhere BETWEEN 0 AND refunded
                      AND owed BETWEEN 0 AND refunds_failed AND capturing BETWEEN 0 AND amount
                      AND captured <= authorized AND authorized <= amount) THEN
                concat(status, ': refunded ', refunded, ' (', refunded_elsewhere, ' by other means) and ', pending,
                       ' pending, ', waived, ' waived, ', disputed, ' disputed, captured ', captured,
                       ', authorized ', authorized, ', amount ', amount, ', ', refunds_failed, ' failed, ', owed, ' owed')
            WHEN status IN ('authorized', 'capturing', 'capture_refused') AND authorized <> amount THEN
                concat(status, ', but ', authorized, ' of ', amount, ' authorized')
            WHEN (captured > 0) <> (status IN ('captured', 'refunding', 'refunded')) AND amount > 0
                 AND NOT (status = 'capturing' AND captured + capturing <= amount) THEN
                concat(status, ', but ', captured, ' of ', amount, ' captured')
            WHEN attention = 'refund_refused' AND (status <> 'captured' OR NOT cancel_wanted) THEN
                concat(status, ', but its refund is a task for staff')
            WHEN attention = 'refund_failed' AND (owed = 0 OR status NOT IN ('captured', 'refunding', 'capturing')) THEN
                concat(status, ' with ', owed, ' owed, but a failed refund is a task for staff')
            WHEN owed > 0 AND status = 'captured' AND NOT cancel_wanted
                 AND attention NOT IN ('refund_failed', 'refund_refused') THEN
                concat(owed, ' owed after a failed refund, but it is no task for staff')
            WHEN status = 'refunded' AND refunded <> captured THEN
                concat('refunded, but only ', refunded, ' of ', captured)
       END AS problem
FROM payments_payment"""

_REFUND_SUMS_SQL = """
SELECT order_id AS subject,
       CASE WHEN refunded <> coalesce(done, 0) THEN
                concat(refunded, ' refunded, but refunds of ', coalesce(done, 0), ' are done')
            WHEN refunds_failed <> coalesce(failed, 0) THEN
                concat(refunds_failed, ' failed, but refunds of ', coalesce(failed, 0), ' have failed')
            WHEN pending <> coalesce(running, 0) OR refund_id IS DISTINCT FROM running_id THEN
                concat(pending, ' pending, but refunds of ', coalesce(running, 0), ' are running')
            WHEN (status = 'refunding') <> (refund_id IS NOT NULL) THEN
                concat(status, CASE WHEN refund_id IS NULL THEN ' without' ELSE ' with' END, ' a running refund')
       END AS problem
FROM payments_payment payment
LEFT JOIN (SELECT payment_id, sum(amount) FILTER (WHERE status = 'done') AS done,
                  sum(amount) FILTER (WHERE status = 'failed') AS failed,
                  sum(amount) FILTER (WHERE status = 'pending') AS running,
                  min(id::text) FILTER (WHERE status = 'pending')::uuid AS running_id
           FROM payments_refund GROUP BY payment_id) refund ON payment_id = payment.id"""

_LEDGER_SQL = """
WITH booking AS (
    SELECT payment_id, booking, sum(amount) AS balance, count(*) AS sides, min(currency) AS least, max(currency) AS most,
           coalesce(-sum(amount) FILTER (WHERE account = 'sales'), 0) AS sold,
           coalesce(sum(amount) FILTER (WHERE account = 'disputes'), 0) AS disputed,
           coalesce(-sum(amount) FILTER (WHERE account = 'other_means'), 0) AS elsewhere
    FROM payments_ledgerentry GROUP BY payment_id, booking),
ledger AS (
    SELECT payment_id, bool_or(balance <> 0 OR sides <> 2) AS unbalanced, min(least) AS least, max(most) AS most,
           sum(sold) FILTER (WHERE starts_with(booking, 'capture')) AS captures,
           -sum(sold) FILTER (WHERE NOT starts_with(booking, 'capture')) AS refunds,
           sum(disputed) AS disputes, sum(elsewhere) AS other_means
    FROM booking GROUP BY payment_id)
SELECT order_id AS subject,
       CASE WHEN unbalanced THEN 'a booking does not sum to 0'
            WHEN coalesce(captures, 0) <> captured THEN
                concat(captured, ' captured, but ', coalesce(captures, 0), ' booked')
            WHEN coalesce(refunds, 0) <> refunded THEN
                concat(refunded, ' refunded, but ', coalesce(refunds, 0), ' booked')
            WHEN coalesce(disputes, 0) <> disputed THEN
                concat(disputed, ' disputed, but ', coalesce(disputes, 0), ' booked')
            WHEN coalesce(other_means, 0) <> refunded_elsewhere THEN
                concat(refunded_elsewhere, ' refunded by other means, but ', coalesce(other_means, 0), ' booked')
            WHEN least <> currency OR most <> currency THEN concat('paid in ', currency, ', booked in ', least, ', ', most)
       END AS problem
FROM payments_payment LEFT JOIN ledger ON payment_id = id"""

# The provider may be ahead of a running operation, and of the next check if it moved money by itself. For everything else
# both sides must agree.
_PROVIDER_SQL = """
SELECT coalesce(order_id::text, intent.reference) AS subject,
       CASE WHEN payment.id IS NULL THEN concat('the provider has an intent in status ', intent.status, ' without a payment')
            WHEN intent.reference IS NULL THEN
                CASE WHEN payment.authorized > 0 THEN concat(payment.status, ', but the provider has no intent') END
            WHEN intent.amount > 0 AND (intent.amount, intent.currency) <> (payment.amount, payment.currency) THEN
                concat('requested ', payment.amount, ' ', payment.currency, ', the provider has ',
                       intent.amount, ' ', intent.currency)
            WHEN intent.moved_at > coalesce(payment.checked_at, payment.created_at) - %(grace)s THEN NULL
            WHEN intent.captured <> payment.captured
                 AND NOT (payment.status IN ('capturing', 'voiding') AND intent.captured = payment.amount)
                 AND NOT (payment.status = 'capturing' AND intent.captured = payment.captured + payment.capturing) THEN
                concat(payment.status, ' with ', payment.captured, ' captured, by the provider ', intent.captured)
            WHEN intent.refunded NOT IN (payment.refunded, payment.refunded + payment.pending) THEN
                concat(payment.status, ' with ', payment.refunded, ' refunded, by the provider ', intent.refunded)
            WHEN intent.refunds_failed <> payment.refunds_failed THEN
                concat(payment.refunds_failed, ' of the refunds failed, by the provider ', intent.refunds_failed)
            WHEN (intent.disputed, intent.dispute) <> (payment.disputed, payment.dispute) THEN
                concat(payment.status, ' with ', payment.disputed, ' disputed, by the provider ', intent.disputed)
       END AS problem
FROM (SELECT id, order_id, status, amount, currency, authorized, captured, capturing, pending, disputed, dispute, reference,
             checked_at, created_at, refunds_failed, refunded - refunded_elsewhere AS refunded
      FROM payments_payment WHERE starts_with(reference, 'sb_')) payment
FULL JOIN (
    SELECT * FROM payments_sandboxintent WHERE reference NOT IN (
        SELECT attempt.reference FROM payments_paymentattempt attempt JOIN payments_payment paid ON paid.id = payment_id
        WHERE attempt.reference <> paid.reference)) intent ON intent.reference = payment.reference
UNION ALL
SELECT order_id::text, CASE WHEN replaced.captured > 0 OR replaced.status IN ('authorized', 'requires_action', 'captured') THEN
           concat('paid in another way, but the intent before is ', replaced.status) END
FROM payments_paymentattempt attempt JOIN payments_payment paid ON paid.id = payment_id
JOIN payments_sandboxintent replaced ON replaced.reference = attempt.reference
WHERE attempt.reference <> paid.reference"""

_CHARGES_SQL = """
SELECT coalesce(order_id::text, reference) AS subject,
       CASE WHEN charges > 1 THEN concat('charged ', charges, ' times')
            WHEN charges < 1 AND (intent.captured > 0 OR intent.status = 'authorized') THEN
                concat(intent.status, ', but never charged')
       END AS problem
FROM payments_sandboxintent intent LEFT JOIN payments_payment USING (reference)"""

_PROVIDER_REFUNDS_SQL = """
SELECT coalesce(ours.order_id::text, theirs.key) AS subject,
       CASE WHEN ours.id IS NULL AND NOT starts_with(theirs.key, 'dashboard-') THEN
                concat('the provider refunded ', theirs.amount, ' without a refund of ours')
            WHEN theirs.key IS NULL AND ours.status = 'done' THEN
                concat(ours.amount, ' refunded, but the provider has no such refund')
            WHEN ours.status = 'failed' AND theirs.has_failed IS NOT TRUE THEN
                concat(ours.amount, ' failed, but not according to the provider')
            WHEN ours.status = 'done' AND theirs.has_failed AND moved_at <= checked_at - %(grace)s THEN
                concat(ours.amount, ' refunded, but the customer''s bank returned it')
            WHEN ours.status = 'refused' AND theirs.key IS NOT NULL THEN 'refused, but the provider made the refund'
            WHEN theirs.amount <> ours.amount THEN concat(ours.amount, ' requested, ', theirs.amount, ' refunded')
       END AS problem
FROM (SELECT order_id, checked_at, refund.* FROM payments_refund refund JOIN payments_payment payment ON payment.id = payment_id
      WHERE starts_with(reference, 'sb_') AND cause NOT IN ('provider', 'other_means')) ours
FULL JOIN (SELECT made.*, moved_at FROM payments_sandboxrefund made JOIN payments_sandboxintent USING (reference)) theirs
     ON theirs.key = ours.id::text"""

_UNRESOLVED_SQL = """
SELECT order_id AS subject,
       CASE WHEN due_at IS NULL THEN concat(status, ', but no timer is set')
            WHEN due_at < now() - %(late)s AND (lease_until BETWEEN now() AND now() + %(late)s) IS NOT TRUE THEN
                concat(status, ', overdue since ', due_at)
            WHEN status <> 'requires_action' AND (%(is_idle)s
                 OR (status IN ('processing', 'unknown') AND created_at < now() - %(grace)s)
                 OR EXISTS (SELECT FROM payments_refund WHERE id = refund_id AND at < now() - %(grace)s)) THEN
                concat(status, ' after ', attempt, ' attempts')
       END AS problem
FROM payments_payment
WHERE status IN ('processing', 'unknown', 'requires_action', 'capturing', 'voiding', 'refunding')
UNION ALL
SELECT order_id, CASE WHEN check_at < now() - %(late)s
                           AND (lease_until BETWEEN now() AND now() + %(late)s) IS NOT TRUE THEN
    concat(status, ', its comparison with the provider is overdue since ', check_at) END
FROM payments_payment WHERE check_at IS NOT NULL"""

# A task that staff closed without money is explained in the audit trail.
_TASKS_SQL = """
SELECT order_id AS subject,
       CASE WHEN refunded_elsewhere <> coalesce(paid, 0) THEN
                concat(refunded_elsewhere, ' refunded by other means, but ', coalesce(paid, 0), ' audited')
            WHEN waived > coalesce(accepted, 0) THEN
                concat(waived, ' waived, but ', coalesce(accepted, 0), ' audited')
       END AS problem
FROM payments_payment payment
LEFT JOIN (SELECT object_id, sum((detail ->> 'amount')::bigint) FILTER (WHERE action = 'mark_refunded') AS paid,
                  sum((detail ->> 'amount')::bigint) FILTER (WHERE action = 'accept') AS accepted
           FROM shop_auditentry WHERE object_type = 'payment' AND action IN ('mark_refunded', 'accept')
           GROUP BY object_id) entry ON object_id = payment.id::text
WHERE refunded_elsewhere > 0 OR waived > 0 OR object_id IS NOT NULL"""

_CURRENCY_SQL = """
SELECT order_id AS subject,
       CASE WHEN published IS NOT NULL THEN concat('in ', currency, ', but published in ', published) END AS problem
FROM (SELECT order_id, currency,
             (SELECT min(payload #>> '{amount,currency}') FROM shop_outboxevent
              WHERE stream = concat('payments.payment:', order_id) AND payload #>> '{amount,currency}' <> currency) AS published
      FROM payments_payment) checked"""

_AUDIT_SQL = """
SELECT payment_id AS subject,
       CASE WHEN coalesce(refunds, 0) <> coalesce(audited, 0) THEN
           concat(coalesce(refunds, 0), ' refunds by staff, but ', coalesce(audited, 0), ' audited') END AS problem
FROM (SELECT payment_id::text, count(*) AS refunds FROM payments_refund
      WHERE actor <> '' AND cause <> 'other_means' GROUP BY payment_id) refund
FULL JOIN (SELECT object_id AS payment_id, count(*) AS audited FROM shop_auditentry
           WHERE object_type = 'payment' AND action = 'refund' AND actor <> ''
           GROUP BY object_id) entry USING (payment_id)"""

_PAYMENTS_EXTRACT_SQL = """
SELECT order_id::text, id::text, provider, status, amount, currency, authorized, captured, refunded, disputed, waived,
       attention, made, coalesce(latest, created_at) < now() - %(grace)s
FROM payments_payment payment
LEFT JOIN (SELECT payment_id, string_agg(concat(id, ' ', amount), ', ' ORDER BY id::text COLLATE "C") AS made,
                  max(at) AS latest
           FROM payments_refund WHERE status = 'done' GROUP BY payment_id) refund ON payment_id = payment.id"""

DECLARATION = ContextInvariants(
    invariants=(
        Invariant(
            number=9,
            name="amounts_in_bounds",
            description="For every payment, 0 ≤ refunded ≤ captured ≤ authorized ≤ amount, and the amounts fit its status. A "
            "refund that failed later is a task for staff until it is refunded again or accepted.",
            sql=_AMOUNTS_SQL,
        ),
        Invariant(
            number=10,
            name="refunds_add_up",
            description="The refunded amount of a payment is the sum of its completed refunds, the failed amount that of "
            "those that failed later; at most one refund is running, and it is the pending one.",
            sql=_REFUND_SUMS_SQL,
        ),
        Invariant(
            number=11,
            name="ledger_balances",
            description="The two sides of every booking sum to 0 in the payment's currency, and the ledger agrees with "
            "the captured and refunded amount of every payment.",
            sql=_LEDGER_SQL,
        ),
        Invariant(
            number=12,
            name="provider_agrees",
            description="The provider has captured and refunded the same amounts as we have, except for running "
            "operations, and each of its intents belongs to a payment.",
            sql=_PROVIDER_SQL,
        ),
        Invariant(
            number=13,
            name="charged_once",
            description="The provider authorized a payment at most once, and captured only what it had authorized.",
            sql=_CHARGES_SQL,
        ),
        Invariant(
            number=14,
            name="given_back_once",
            description="The provider made every completed refund exactly once and with the same amount, and no others; the "
            "same refunds failed later.",
            sql=_PROVIDER_REFUNDS_SQL,
        ),
        Invariant(
            number=15,
            name="payment_is_looked_at",
            description="No payment remains with an unknown outcome or in the middle of an operation.",
            sql=_UNRESOLVED_SQL,
            holds_always=False,
        ),
        Invariant(
            number=16,
            name="refunds_audited",
            description="Every refund by staff has its audit entry, and every such entry has its refund.",
            sql=_AUDIT_SQL,
        ),
        Invariant(
            number=55,
            name="tasks_audited",
            description="What staff refunded by other means, or decided not to refund, has its audit entry, and every "
            "such entry has its payment.",
            sql=_TASKS_SQL,
        ),
        Invariant(
            number=59,
            name="payment_in_one_currency",
            description="The amounts in the published events of a payment are in its currency.",
            sql=_CURRENCY_SQL,
        ),
    ),
    required_constraints=(
        "payments_payment_order_id_key",
        "one_payment_per_reference",
        "one_running_refund",
        "payments_refund_key_key",
        "refunds_within_captured",
        "captured_within_authorized",
        "booked_once",
        "append_only",
        "amounts_only_grow",
    ),
    event_counters=(EventCounter(stream="payments.payment", table="payments_payment", key="order_id"),),
    extracts=(
        Extract(
            table="payments",
            columns="order_id, id, provider, status, amount, currency, authorized, captured, refunded, disputed, waived, "
            "attention, made, past_grace_period",
            key="order_id",
            sql=_PAYMENTS_EXTRACT_SQL,
        ),
    ),
)
