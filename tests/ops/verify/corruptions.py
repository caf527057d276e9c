"""Corruptions, at least one per invariant: SQL that plants and removes it, and the subject that must be reported."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Corruption:
    """A planted violation. `%(name)s` in SQL and subject stands for an id of the sample orders."""

    invariant: str
    context: str
    subject: str
    do: str
    undo: str
    guards: tuple[str, ...] = ()  # constraints that would refuse it: disabled while it is planted
    also: tuple[tuple[str, str], ...] = ()  # other violations that it causes: invariant and subject

    def __str__(self) -> str:
        return self.invariant


def change_column(
    invariant: str, context: str, subject: str, table: str, where: str, was: str, becomes: str, **options
) -> Corruption:
    """Build a corruption that changes a column."""
    update = f"UPDATE {table} SET {{}} WHERE {where}"
    return Corruption(invariant, context, subject, update.format(becomes), update.format(was), **options)


BOUGHT, WAITING = "%(bought)s", "%(waiting)s"
MAIL = "notifications_message", "order_id = %(bought)s AND channel = 'email'"
RECEIPT = "notifications.write_receipt orders.order:%(bought)s#2"
ROW_OF_RECEIPT = "shop_inboxrow", "stream = 'orders.order:%(bought)s' AND handler = 'notifications.write_receipt'"
PAYMENT_BOUGHT = "payments_payment", "order_id = %(bought)s"
INTENT_BOUGHT = (
    "payments_sandboxintent", "reference = (SELECT reference FROM payments_payment WHERE order_id = %(bought)s)"
)  # fmt: skip
COPY_OF_RECEIPT = """
INSERT INTO shop_inboxrow (event_id, handler, ordered, name, stream, sequence, envelope, received_at, handled_at, attempt)
SELECT {event_id}, handler, ordered, name, stream, {sequence}, envelope, {received_at}, {handled_at}, 77
FROM shop_inboxrow WHERE stream = 'orders.order:%(bought)s' AND handler = '{handler}'"""
DELETE_COPY = "DELETE FROM shop_inboxrow WHERE stream = 'orders.order:%(bought)s' AND attempt = 77"

CORRUPTIONS = [
    change_column("stock_within_bounds", "inventory", "%(rare)s", "inventory_stock", "sku = %(rare)s",
         "on_hand = 5, initial = 5", "on_hand = 0, initial = 0", guards=("reserved_within_on_hand",)),
    change_column("stock_explained", "inventory", "%(sku)s", "inventory_stock", "sku = %(sku)s",
         "initial = initial - 1", "initial = initial + 1"),
    Corruption("stock_explained", "inventory", "%(unknown)s",
          "INSERT INTO inventory_stockmovement (sku, kind, quantity, actor, note) VALUES (%(unknown)s, 'sale', -1, 'x', '')",
          "DELETE FROM inventory_stockmovement WHERE sku = %(unknown)s"),
    change_column("reserved_is_held", "inventory", "%(sku)s", "inventory_stock", "sku = %(sku)s",
         "reserved = reserved - 1", "reserved = reserved + 1"),
    change_column("reservation_path", "inventory", BOUGHT, "shop_outboxevent",
         "stream = 'inventory.reservation:%(bought)s' AND sequence = 2",
         "name = 'inventory.reservation_committed'", "name = 'inventory.reservation_due'"),
    Corruption("sold_once", "inventory", BOUGHT,
          """INSERT INTO inventory_stockmovement (sku, kind, quantity, order_id, actor, note)
             SELECT %(sku)s, kind, quantity, %(bought)s, 'x', 'planted'
             FROM (VALUES ('sale', -1), ('restock', 1)) AS twice (kind, quantity)""",
          "DELETE FROM inventory_stockmovement WHERE note = 'planted'"),
    change_column("refused_with_reason", "inventory", "%(unserved)s", "inventory_reservation", "order_id = %(unserved)s",
         "refused_available = 4", "refused_available = 9"),
    change_column("refused_with_reason", "orders", "%(refused)s", "orders_order", "id = %(refused)s",
         "refusal = jsonb_set(refusal, '{facts,available}', '4')", "refusal = jsonb_set(refusal, '{facts,available}', '9')"),
    change_column("hold_is_watched", "inventory", WAITING, "inventory_reservation", "order_id = %(waiting)s",
         "announce_at = due_at", "announce_at = NULL"),
    change_column("hold_is_watched", "inventory", WAITING, "inventory_reservation", "order_id = %(waiting)s",
         "announce_at = due_at", "announce_at = now() - interval '1 hour'"),
    change_column("stock_changes_audited", "inventory", "%(sku)s", "shop_auditentry",
         "object_type = 'stock' AND object_id = %(sku)s", "action = 'receipt'", "action = 'glance'"),
    Corruption("movement_has_its_request", "inventory", "%(unknown)s",
          "INSERT INTO shop_idempotencykey (scope, key, fingerprint, resource) VALUES ('planted', 'planted', '', %(unknown)s)",
          "DELETE FROM shop_idempotencykey WHERE key = 'planted'"),
    change_column("movement_has_its_request", "inventory", "%(unknown)s", "inventory_stockmovement",
         "sku = %(sku)s AND kind = 'receipt'", "uid = NULL", "uid = %(unknown)s"),
    change_column("amounts_in_bounds", "payments", BOUGHT, *PAYMENT_BOUGHT, "status = 'captured'", "status = 'authorized'"),
    change_column("amounts_in_bounds", "payments", BOUGHT, *PAYMENT_BOUGHT,
         "authorized = amount", "authorized = amount + 1", guards=("captured_within_authorized", "amounts_only_grow")),
    change_column("amounts_in_bounds", "payments", BOUGHT, *PAYMENT_BOUGHT, "attention = ''", "attention = 'refund_refused'"),
    change_column("amounts_in_bounds", "payments", BOUGHT, *PAYMENT_BOUGHT, "owed = 0", "owed = 1"),
    change_column("amounts_in_bounds", "payments", BOUGHT, *PAYMENT_BOUGHT, "attention = ''", "attention = 'refund_failed'"),
    change_column("refunds_add_up", "payments", BOUGHT, *PAYMENT_BOUGHT, "refunds_failed = 0", "refunds_failed = 1",
         guards=("amounts_only_grow",), also=(("provider_agrees", BOUGHT),)),
    change_column("ledger_balances", "payments", BOUGHT, *PAYMENT_BOUGHT, "disputed = 0", "disputed = 1",
         also=(("provider_agrees", BOUGHT),)),
    change_column("payment_is_looked_at", "payments", BOUGHT, *PAYMENT_BOUGHT,
         "check_at = now() + interval '1 hour'", "check_at = now() - interval '1 hour'"),
    change_column("tasks_audited", "payments", BOUGHT, *PAYMENT_BOUGHT, "waived = 0", "waived = 1"),
    change_column("refunds_reach_the_order", "orders", "%(refunded)s", "orders_orderpayment", "order_id = %(refunded)s",
         "refunded = refunded + 1", "refunded = refunded - 1", also=(("order_refunds_add_up", "%(refunded)s"),)),
    Corruption("refunds_reach_the_order", "orders", "%(returned)s",
          "UPDATE orders_orderpayment SET order_id = %(bought)s WHERE order_id = %(returned)s",
          "UPDATE orders_orderpayment SET order_id = %(returned)s WHERE order_id = %(bought)s",
          also=(("refunds_reach_the_order", BOUGHT),)),
    change_column("order_refunds_add_up", "orders", "%(refunded)s", "orders_orderpayment", "order_id = %(refunded)s",
         """timeline = replace(timeline::text, '"planted"', '"refunded"')::jsonb""",
         """timeline = replace(timeline::text, '"refunded"', '"planted"')::jsonb"""),
    change_column("facts_are_counted", "orders", "%(refunded)s", "orders_orderpayment", "order_id = %(refunded)s",
         "sequence = 1", "sequence = 2"),
    change_column("refunds_add_up", "payments", BOUGHT, *PAYMENT_BOUGHT, "refund_id = NULL", "refund_id = %(unknown)s"),
    change_column("ledger_balances", "payments", BOUGHT, "payments_ledgerentry",
         "account = 'sales' AND payment_id = (SELECT id FROM payments_payment WHERE order_id = %(bought)s)",
         "amount = amount + 1", "amount = amount - 1", guards=("append_only",)),
    change_column("provider_agrees", "payments", BOUGHT, *INTENT_BOUGHT, "captured = captured + 1", "captured = captured - 1"),
    Corruption("provider_agrees", "payments", "%(unknown)s",
          "INSERT INTO payments_sandboxintent (reference, status) VALUES (%(unknown)s, 'declined')",
          "DELETE FROM payments_sandboxintent WHERE reference = %(unknown)s"),
    change_column("charged_once", "payments", BOUGHT, *INTENT_BOUGHT, "charges = 1", "charges = 2"),
    change_column("given_back_once", "payments", "%(returned)s", "payments_sandboxrefund",
         "reference = (SELECT reference FROM payments_payment WHERE order_id = %(returned)s)",
         "amount = amount + 1", "amount = amount - 1"),
    change_column("given_back_once", "payments", "%(returned)s", "payments_refund",
         "payment_id = (SELECT id FROM payments_payment WHERE order_id = %(returned)s)",
         "status = 'done'", "status = 'failed'",
         also=(("refunds_add_up", "%(returned)s"), ("refunds_reach_the_order", "%(returned)s"))),
    change_column("payment_is_looked_at", "payments", WAITING, "payments_payment", "order_id = %(waiting)s",
         "due_at = now() + interval '1 hour'", "due_at = NULL"),
    change_column("payment_is_looked_at", "payments", WAITING, "payments_payment", "order_id = %(waiting)s",
         "status = 'requires_action'", "status = 'unknown'"),
    change_column("refunds_audited", "payments", "%(refunded_payment)s", "shop_auditentry",
         "object_type = 'payment' AND object_id = %(refunded_payment)s", "action = 'refund'", "action = 'glance'"),
    change_column("step_fits_status", "orders", BOUGHT, "orders_order", "id = %(bought)s", "refusal = NULL", "refusal = '{}'"),
    change_column("step_fits_status", "orders", WAITING, "orders_order", "id = %(waiting)s",
         "step = 'authorizing'", "step = 'capturing'", also=(("order_comes_to_rest", WAITING),)),
    change_column("order_path", "orders", BOUGHT, "shop_outboxevent", "stream = 'orders.order:%(bought)s' AND sequence = 3",
         "name = 'orders.order_paid'", "name = 'orders.order_confirmed'"),
    change_column("order_path", "orders", WAITING, "orders_order", "id = %(waiting)s",
         "timeline = timeline - 1", """timeline = timeline || '{"kind": "paid", "at": "2020-01-01T00:00:00Z"}'"""),
    change_column("order_adds_up", "orders", BOUGHT, "orders_order", "id = %(bought)s",
         "items_total = items_total - 1, discount_total = 0", "items_total = items_total + 1, discount_total = 1"),
    change_column("order_comes_to_rest", "orders", WAITING, "orders_order", "id = %(waiting)s",
         "due_at = now() + interval '1 hour'", "due_at = NULL"),
    change_column("order_comes_to_rest", "orders", WAITING, "orders_order", "id = %(waiting)s",
         "cancel_requested_at = NULL", "cancel_requested_at = now() - interval '2 minutes'"),
    change_column("order_has_its_request", "orders", BOUGHT, "shop_idempotencykey",
         "key = (SELECT key FROM shop_idempotencykey WHERE position(%(bought)s IN convert_from(body, 'UTF8')) > 0)",
         "resource = %(bought)s", "resource = NULL"),
    change_column("answer_was_true", "orders", BOUGHT, "shop_idempotencykey", "resource = %(bought)s",
         "status = 201", "status = 402"),
    change_column("prices_in_one_currency", "inventory", "%(sku)s", "inventory_variant", "sku = %(sku)s",
         "currency = 'EUR'", "currency = 'USD'"),
    change_column("order_in_one_currency", "orders", BOUGHT, "orders_orderline", "order_id = %(bought)s",
         "currency = 'EUR'", "currency = 'USD'"),
    change_column("order_in_one_currency", "orders", BOUGHT, "shop_outboxevent",
         "stream = 'orders.order:%(bought)s' AND sequence = 1",
         """payload = jsonb_set(payload, '{total,currency}', '"EUR"')""",
         """payload = jsonb_set(payload, '{total,currency}', '"USD"')"""),
    change_column("payment_in_one_currency", "payments", BOUGHT, "shop_outboxevent",
         "stream = 'payments.payment:%(bought)s' AND sequence = 1",
         """payload = jsonb_set(payload, '{amount,currency}', '"EUR"')""",
         """payload = jsonb_set(payload, '{amount,currency}', '"USD"')"""),
    change_column("one_order_per_cart", "orders", "%(cart)s", "orders_order", "id IN (%(bought)s, %(waiting)s)",
         "cart_id = NULL", "cart_id = %(cart)s", guards=("one_live_order_per_cart",)),
    change_column("one_order_per_cart", "orders", "%(refused)s", "orders_order", "id IN (%(bought)s, %(refused)s)",
         "cart_id = NULL, created_at = created_at - (status = 'rejected')::int * interval '1 minute'",
         "cart_id = %(cart)s, created_at = created_at + (status = 'rejected')::int * interval '1 minute'"),
    change_column("stream_without_gaps", "inventory", "inventory.reservation:%(returned)s", "shop_outboxevent",
         "stream = 'inventory.reservation:%(returned)s' AND name = 'inventory.reservation_held'",
         "sequence = 1", "sequence = 0"),
    change_column("facts_are_counted", "inventory", BOUGHT, "inventory_reservation", "order_id = %(bought)s",
         "sequence = sequence - 1", "sequence = sequence + 1"),
    change_column("facts_are_counted", "users", "%(user)s", "users_user", "id = %(user)s", "sequence = 1", "sequence = 2"),
    change_column("facts_are_counted", "orders", BOUGHT, "orders_order", "id = %(bought)s", "sequence = 3", "sequence = 4"),
    change_column("facts_are_counted", "payments", BOUGHT, *PAYMENT_BOUGHT, "sequence = 2", "sequence = 3"),
    change_column("facts_are_delivered", "orders", "orders.order:%(bought)s#2 to inventory", "shop_delivery",
         "stream = 'orders.order:%(bought)s' AND subscriber = 'inventory'",
         "acknowledged_at = now()", "acknowledged_at = NULL"),
    change_column("facts_are_counted", "notifications", "%(mail)s", *MAIL, "sequence = 0", "sequence = 1"),
    change_column("facts_are_handled", "notifications", RECEIPT, *ROW_OF_RECEIPT, "handled_at = now()", "handled_at = NULL"),
    change_column("nothing_is_parked", "notifications", RECEIPT, *ROW_OF_RECEIPT,
         "handled_at = now(), parked_at = NULL, error = ''", "handled_at = NULL, parked_at = now(), error = 'poison'"),
    Corruption("handled_once", "notifications", "notifications.write_receipt %(confirmed)s",
          COPY_OF_RECEIPT.format(event_id="event_id", sequence="sequence", received_at="received_at",
                                 handled_at="handled_at", handler="notifications.write_receipt"),
          DELETE_COPY, guards=("one_inbox_row_per_handler",)),
    Corruption("handled_in_order", "inventory", "inventory.commit_reservation orders.order:%(bought)s#2",
          COPY_OF_RECEIPT.format(event_id="%(unknown)s::uuid", sequence="1", received_at="now() - interval '29 days'",
                                 handled_at="now() + interval '1 hour'", handler="inventory.commit_reservation"),
          DELETE_COPY),
    change_column("parked_with_reason", "notifications", RECEIPT, *ROW_OF_RECEIPT, "parked_at = NULL", "parked_at = now()"),
    change_column("nothing_is_parked", "orders", "orders.order:%(bought)s#2 to inventory", "shop_delivery",
         "stream = 'orders.order:%(bought)s' AND subscriber = 'inventory' AND sequence = 2",
         "acknowledged_at = now(), parked_at = NULL, due_at = now(), error = ''",
         "acknowledged_at = NULL, parked_at = now(), due_at = NULL, error = 'no handler'"),
    change_column("parked_with_reason", "orders", "orders.order:%(bought)s#2 to inventory", "shop_delivery",
         "stream = 'orders.order:%(bought)s' AND subscriber = 'inventory' AND sequence = 2",
         "parked_at = NULL", "parked_at = now()"),
    Corruption("key_with_effect", "orders", "planted %(unknown)s",
          "INSERT INTO shop_idempotencykey (scope, key, fingerprint) VALUES ('planted', %(unknown)s, '')",
          "DELETE FROM shop_idempotencykey WHERE key = %(unknown)s"),
    Corruption("guards_are_on", "inventory", "movement_moves",
          "ALTER TABLE inventory_stockmovement DROP CONSTRAINT movement_moves",
          "ALTER TABLE inventory_stockmovement ADD CONSTRAINT movement_moves CHECK (NOT quantity = 0)"),
    Corruption("guards_are_on", "payments", "append_only",
          "ALTER TABLE payments_ledgerentry DISABLE TRIGGER append_only",
          "ALTER TABLE payments_ledgerentry ENABLE TRIGGER append_only"),
    Corruption("own_tables_only", "users", "orders_copy", "CREATE TABLE orders_copy ()", "DROP TABLE orders_copy"),
    change_column("message_state", "notifications", "%(bought)s order_confirmed by email", *MAIL,
         "due_at = now() + interval '1 hour'", "due_at = NULL"),
    change_column("told_once", "notifications", "planted", "notifications_message",
         "order_id IN (%(bought)s, %(refunded)s) AND channel = 'email'",
         "message_id = concat('<', id, '@127.0.0.1>')", "message_id = 'planted'"),
    change_column("message_goes_out", "notifications", "%(bought)s order_confirmed by email", *MAIL,
         "due_at = now() + interval '1 hour'", "due_at = now() - interval '1 hour'"),
    change_column("message_goes_out", "notifications", "%(bought)s order_confirmed by email", *MAIL,
         "status = 'waiting', due_at = now() + interval '1 hour', reason = '', unknown_outcomes = 0",
         "status = 'parked', due_at = NULL, reason = 'no reply', unknown_outcomes = 3"),
    change_column("message_state", "notifications", "%(bought)s order_confirmed by email", *MAIL,
         "status = 'waiting', due_at = now() + interval '1 hour'", "status = 'discarded', due_at = NULL"),
    Corruption("one_refresh_token", "users", "%(family)s",
          "INSERT INTO users_refreshtoken (digest, family_id, expires_at) VALUES ('planted', %(family)s, now())",
          "DELETE FROM users_refreshtoken WHERE digest = 'planted'"),
    Corruption("password_ends_sessions", "users", "%(family)s",
          """INSERT INTO shop_auditentry (actor, action, object_type, object_id, detail)
             SELECT 'planted', 'set password', 'user', %(user)s, '{}'""",
          "DELETE FROM shop_auditentry WHERE actor = 'planted' AND object_id = %(user)s"),
    Corruption("password_ends_sessions", "users", "%(unknown)s",
          """WITH planted AS (INSERT INTO users_staffsession (id, user_id, began_at)
                              SELECT %(unknown)s::uuid, id, now() - interval '1 day' FROM users_user WHERE id = %(user)s)
             INSERT INTO shop_auditentry (actor, action, object_type, object_id, detail)
             SELECT 'planted', 'set password', 'user', %(user)s, '{}'""",
          """WITH planted AS (DELETE FROM users_staffsession WHERE id = %(unknown)s::uuid)
             DELETE FROM shop_auditentry WHERE actor = 'planted' AND object_id = %(user)s""",
          also=(("rights_end_sessions", "%(unknown)s"), ("password_ends_sessions", "%(family)s"))),
    Corruption("rights_end_sessions", "users", "%(unknown)s",
          "INSERT INTO users_staffsession (id, user_id) SELECT %(unknown)s::uuid, id FROM users_user WHERE id = %(user)s",
          "DELETE FROM users_staffsession WHERE id = %(unknown)s::uuid"),
    Corruption("disabled_signed_out", "users", "%(user)s",
          """WITH planted AS (INSERT INTO users_staffsession (id, user_id) VALUES (%(unknown)s::uuid, %(user)s::uuid)),
                  signed_out AS (UPDATE users_tokenfamily SET revoked = true WHERE user_id = %(user)s)
             UPDATE users_user SET is_active = false WHERE id = %(user)s""",
          """WITH planted AS (DELETE FROM users_staffsession WHERE id = %(unknown)s::uuid),
                  signed_in AS (UPDATE users_tokenfamily SET revoked = false WHERE user_id = %(user)s)
             UPDATE users_user SET is_active = true WHERE id = %(user)s""",
          also=(("rights_end_sessions", "%(unknown)s"),)),
    change_column("disabled_signed_out", "users", "%(user)s", "users_user", "id = %(user)s",
         "is_active = true", "is_active = false"),
    change_column("staff_audited", "users", "%(user)s", "users_user", "id = %(user)s",
         "permissions = '{}'", "permissions = '{*}'"),
    change_column("confirmed_has_stock", "inventory", BOUGHT, "inventory_reservation", "order_id = %(bought)s",
         "status = 'committed'", "status = 'restocked'",
         also=(("stock_has_order", BOUGHT), ("reservation_path", BOUGHT), ("sold_once", BOUGHT))),
    change_column("stock_as_ordered", "orders", BOUGHT, "orders_orderline", "order_id = %(bought)s",
         "sku = %(sku)s", "sku = %(rare)s"),
    Corruption("stock_has_order", "inventory", "%(unknown)s",
          """INSERT INTO inventory_reservation (order_id, status, sequence, created_at)
             VALUES (%(unknown)s, 'committed', 0, now() - interval '40 days')""",
          "DELETE FROM inventory_reservation WHERE order_id = %(unknown)s"),
    change_column("payment_as_ordered", "orders", BOUGHT, "orders_order", "id = %(bought)s",
         "payment_id = %(bought_payment)s", "payment_id = %(unknown)s"),
    change_column("payment_as_ordered", "orders", "%(refused)s", "orders_order", "id = %(refused)s",
         "payment_id = NULL", "payment_id = %(unknown)s"),
    change_column("payment_as_ordered", "payments", BOUGHT, *PAYMENT_BOUGHT, "currency = 'EUR'", "currency = 'USD'",
         also=(("ledger_balances", BOUGHT), ("provider_agrees", BOUGHT), ("payment_in_one_currency", BOUGHT))),
    change_column("confirmed_is_paid", "payments", "%(on_hold)s", "payments_payment", "order_id = %(on_hold)s",
         "status = 'capture_refused'", "status = 'voided'"),
    change_column("undone_is_unpaid", "payments", "%(voided)s", "payments_payment", "order_id = %(voided)s",
         "status = 'voided', due_at = NULL", "status = 'requires_action', due_at = now() + interval '1 hour'"),
    Corruption("money_has_order", "payments", "%(unknown)s",
          """INSERT INTO payments_payment (id, order_id, provider, token, status, amount, authorized, captured, refunded,
                 pending, currency, reason, reference, action_url, cancel_wanted, version, sequence)
             VALUES (%(unknown)s, %(unknown)s, '', '', 'captured', 5, 5, 5, 0, 0, 'EUR', '', '', '', false, 1, 0)""",
          "DELETE FROM payments_payment WHERE id = %(unknown)s", also=(("ledger_balances", "%(unknown)s"),)),
    change_column("customer_was_told", "notifications", BOUGHT, *MAIL,
         "template = 'order_confirmed'", "template = 'order_put_on_hold'"),
    change_column("customer_was_told", "orders", "%(refused)s", "orders_order", "id = %(refused)s",
         "refusal = jsonb_set(refusal, '{is_answered}', 'true')", "refusal = jsonb_set(refusal, '{is_answered}', 'false')"),
    change_column("told_the_customer", "notifications", BOUGHT, *MAIL, "user_id = %(user)s", "user_id = %(unknown)s"),
    change_column("customer_was_welcomed", "notifications", "%(user)s", "notifications_message",
         "user_id = %(user)s AND order_id IS NULL", "template = 'welcome'", "template = 'order_rejected'"),
    change_column("customer_was_welcomed", "notifications", "%(unknown)s", "notifications_message",
         "user_id IN (%(user)s, %(unknown)s) AND order_id IS NULL", "user_id = %(user)s", "user_id = %(unknown)s",
         also=(("customer_was_welcomed", "%(user)s"),)),
    change_column("acknowledged_is_received", "notifications", "orders.order:%(bought)s#2 to notifications", *ROW_OF_RECEIPT,
         "received_at = now()", "received_at = now() - interval '29 days'"),
    change_column("received_was_announced", "notifications",
         "orders.order:%(bought)s#2 for notifications.write_receipt", *ROW_OF_RECEIPT,
         "envelope = envelope #- '{payload,planted}'", "envelope = jsonb_set(envelope, '{payload,planted}', '1')"),
    Corruption("old_rows_are_deleted", "orders", BOUGHT,
          """INSERT INTO shop_purge (rule, started_at, failures, failed_at, error)
             VALUES (%(bought)s, now(), 3, now(), 'canceling statement due to statement timeout')""",
          "DELETE FROM shop_purge WHERE rule = %(bought)s"),
    Corruption("old_rows_are_deleted", "payments", BOUGHT,
          "INSERT INTO shop_purge (rule, started_at, behind_since) VALUES (%(bought)s, now(), now() - interval '25 hours')",
          "DELETE FROM shop_purge WHERE rule = %(bought)s"),
]  # fmt: skip
