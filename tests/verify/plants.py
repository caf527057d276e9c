"""One corruption, at least, for every invariant: what to write into the tables, how to undo it, and what must be found."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Plant:
    """A corruption. `%(name)s` stands for something of the story, in SQL and in the subject."""

    invariant: str
    context: str
    subject: str
    do: str
    undo: str
    guards: tuple[str, ...] = ()  # which the database would refuse it with: switched off meanwhile
    also: tuple[tuple[str, str], ...] = ()  # what else it breaks: invariants and their subjects

    def __str__(self) -> str:
        return self.invariant


def swap(invariant: str, context: str, subject: str, table: str, where: str, was: str, becomes: str, **how) -> Plant:
    """A column that says something else."""
    update = f"UPDATE {table} SET {{}} WHERE {where}"
    return Plant(invariant, context, subject, update.format(becomes), update.format(was), **how)


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
UNCOPY = "DELETE FROM shop_inboxrow WHERE stream = 'orders.order:%(bought)s' AND attempt = 77"

PLANTS = [
    swap("stock_within_bounds", "inventory", "%(rare)s", "inventory_stock", "sku = %(rare)s",
         "on_hand = 5, initial = 5", "on_hand = 0, initial = 0", guards=("reserved_within_on_hand",)),
    swap("stock_explained", "inventory", "%(sku)s", "inventory_stock", "sku = %(sku)s",
         "initial = initial - 1", "initial = initial + 1"),
    Plant("stock_explained", "inventory", "%(nobody)s",
          "INSERT INTO inventory_stockmovement (sku, kind, quantity, actor, note) VALUES (%(nobody)s, 'sale', -1, 'x', '')",
          "DELETE FROM inventory_stockmovement WHERE sku = %(nobody)s"),
    swap("reserved_is_held", "inventory", "%(sku)s", "inventory_stock", "sku = %(sku)s",
         "reserved = reserved - 1", "reserved = reserved + 1"),
    swap("reservation_path", "inventory", BOUGHT, "shop_outboxevent",
         "stream = 'inventory.reservation:%(bought)s' AND sequence = 2",
         "name = 'inventory.reservation_committed'", "name = 'inventory.reservation_due'"),
    Plant("sold_once", "inventory", BOUGHT,
          """INSERT INTO inventory_stockmovement (sku, kind, quantity, order_id, actor, note)
             SELECT %(sku)s, kind, quantity, %(bought)s, 'x', 'planted'
             FROM (VALUES ('sale', -1), ('restock', 1)) AS twice (kind, quantity)""",
          "DELETE FROM inventory_stockmovement WHERE note = 'planted'"),
    swap("refused_with_reason", "inventory", "%(refused)s", "inventory_reservation", "order_id = %(refused)s",
         "refused_available = 4", "refused_available = 9"),
    swap("hold_is_watched", "inventory", WAITING, "inventory_reservation", "order_id = %(waiting)s",
         "announce_at = due_at", "announce_at = NULL"),
    swap("hold_is_watched", "inventory", WAITING, "inventory_reservation", "order_id = %(waiting)s",
         "announce_at = due_at", "announce_at = now() - interval '1 hour'"),
    swap("stock_changes_audited", "inventory", "%(sku)s", "shop_auditentry",
         "object_type = 'stock' AND object_id = %(sku)s", "action = 'receipt'", "action = 'glance'"),
    swap("amounts_in_bounds", "payments", BOUGHT, *PAYMENT_BOUGHT, "status = 'captured'", "status = 'authorized'"),
    swap("amounts_in_bounds", "payments", BOUGHT, *PAYMENT_BOUGHT,
         "authorized = amount", "authorized = amount + 1", guards=("captured_within_authorized", "amounts_only_grow")),
    swap("refunds_add_up", "payments", BOUGHT, *PAYMENT_BOUGHT, "refund_id = NULL", "refund_id = %(nobody)s"),
    swap("ledger_balances", "payments", BOUGHT, "payments_ledgerentry",
         "account = 'sales' AND payment_id = (SELECT id FROM payments_payment WHERE order_id = %(bought)s)",
         "amount = amount + 1", "amount = amount - 1", guards=("append_only",)),
    swap("provider_agrees", "payments", BOUGHT, *INTENT_BOUGHT, "captured = captured + 1", "captured = captured - 1"),
    Plant("provider_agrees", "payments", "%(nobody)s",
          "INSERT INTO payments_sandboxintent (reference, status) VALUES (%(nobody)s, 'declined')",
          "DELETE FROM payments_sandboxintent WHERE reference = %(nobody)s"),
    swap("charged_once", "payments", BOUGHT, *INTENT_BOUGHT, "charges = 1", "charges = 2"),
    swap("given_back_once", "payments", "%(returned)s", "payments_sandboxrefund",
         "reference = (SELECT reference FROM payments_payment WHERE order_id = %(returned)s)",
         "amount = amount + 1", "amount = amount - 1"),
    swap("payment_is_looked_at", "payments", WAITING, "payments_payment", "order_id = %(waiting)s",
         "due_at = now() + interval '1 hour'", "due_at = NULL"),
    swap("payment_is_looked_at", "payments", WAITING, "payments_payment", "order_id = %(waiting)s",
         "status = 'requires_action'", "status = 'unknown'"),
    swap("refunds_audited", "payments", "%(refunded_payment)s", "shop_auditentry",
         "object_type = 'payment' AND object_id = %(refunded_payment)s", "action = 'refund'", "action = 'glance'"),
    swap("step_fits_status", "orders", BOUGHT, "orders_order", "id = %(bought)s", "refusal = NULL", "refusal = '{}'"),
    swap("step_fits_status", "orders", WAITING, "orders_order", "id = %(waiting)s",
         "step = 'authorizing'", "step = 'capturing'", also=(("order_comes_to_rest", WAITING),)),
    swap("order_path", "orders", BOUGHT, "shop_outboxevent", "stream = 'orders.order:%(bought)s' AND sequence = 3",
         "name = 'orders.order_paid'", "name = 'orders.order_confirmed'"),
    swap("order_path", "orders", WAITING, "orders_order", "id = %(waiting)s",
         "timeline = timeline - 1", """timeline = timeline || '{"kind": "paid", "at": "2020-01-01T00:00:00Z"}'"""),
    swap("order_adds_up", "orders", BOUGHT, "orders_order", "id = %(bought)s",
         "items_total = items_total - 1, discount_total = 0", "items_total = items_total + 1, discount_total = 1"),
    swap("order_comes_to_rest", "orders", WAITING, "orders_order", "id = %(waiting)s",
         "due_at = now() + interval '1 hour'", "due_at = NULL"),
    swap("order_comes_to_rest", "orders", WAITING, "orders_order", "id = %(waiting)s",
         "cancel_requested_at = NULL", "cancel_requested_at = now() - interval '2 minutes'"),
    swap("order_has_its_request", "orders", BOUGHT, "shop_idempotencykey",
         "key = (SELECT key FROM shop_idempotencykey WHERE position(%(bought)s IN convert_from(body, 'UTF8')) > 0)",
         "resource = %(bought)s", "resource = NULL"),
    swap("answer_was_true", "orders", BOUGHT, "shop_idempotencykey", "resource = %(bought)s",
         "status = 201", "status = 402"),
    swap("one_order_per_cart", "orders", "%(cart)s", "orders_order", "id IN (%(bought)s, %(waiting)s)",
         "cart_id = NULL", "cart_id = %(cart)s", guards=("one_live_order_per_cart",)),
    swap("stream_without_gaps", "inventory", "inventory.reservation:%(returned)s", "shop_outboxevent",
         "stream = 'inventory.reservation:%(returned)s' AND name = 'inventory.reservation_held'",
         "sequence = 1", "sequence = 0"),
    swap("facts_are_counted", "inventory", BOUGHT, "inventory_reservation", "order_id = %(bought)s",
         "sequence = sequence - 1", "sequence = sequence + 1"),
    swap("facts_are_counted", "users", "%(user)s", "users_user", "id = %(user)s", "sequence = 1", "sequence = 2"),
    swap("facts_are_counted", "orders", BOUGHT, "orders_order", "id = %(bought)s", "sequence = 3", "sequence = 4"),
    swap("facts_are_counted", "payments", BOUGHT, *PAYMENT_BOUGHT, "sequence = 2", "sequence = 3"),
    swap("facts_are_counted", "notifications", "%(mail)s", *MAIL, "sequence = 0", "sequence = 1"),
    swap("facts_are_delivered", "orders", "orders.order:%(bought)s#2 to inventory", "shop_delivery",
         "stream = 'orders.order:%(bought)s' AND subscriber = 'inventory'",
         "acknowledged_at = now()", "acknowledged_at = NULL"),
    swap("facts_are_handled", "notifications", RECEIPT, *ROW_OF_RECEIPT, "handled_at = now()", "handled_at = NULL"),
    swap("nothing_is_parked", "notifications", RECEIPT, *ROW_OF_RECEIPT,
         "handled_at = now(), parked_at = NULL, error = ''", "handled_at = NULL, parked_at = now(), error = 'poison'"),
    Plant("handled_once", "notifications", "notifications.write_receipt %(confirmed)s",
          COPY_OF_RECEIPT.format(event_id="event_id", sequence="sequence", received_at="received_at",
                                 handled_at="handled_at", handler="notifications.write_receipt"),
          UNCOPY, guards=("one_inbox_row_per_handler",)),
    Plant("handled_in_order", "inventory", "inventory.commit_reservation orders.order:%(bought)s#2",
          COPY_OF_RECEIPT.format(event_id="%(nobody)s::uuid", sequence="1", received_at="now() - interval '29 days'",
                                 handled_at="now() + interval '1 hour'", handler="inventory.commit_reservation"),
          UNCOPY),
    swap("parked_with_reason", "notifications", RECEIPT, *ROW_OF_RECEIPT, "parked_at = NULL", "parked_at = now()"),
    Plant("key_with_effect", "orders", "planted %(nobody)s",
          "INSERT INTO shop_idempotencykey (scope, key, fingerprint) VALUES ('planted', %(nobody)s, '')",
          "DELETE FROM shop_idempotencykey WHERE key = %(nobody)s"),
    Plant("guards_are_on", "inventory", "movement_moves",
          "ALTER TABLE inventory_stockmovement DROP CONSTRAINT movement_moves",
          "ALTER TABLE inventory_stockmovement ADD CONSTRAINT movement_moves CHECK (NOT quantity = 0)"),
    Plant("guards_are_on", "payments", "append_only",
          "ALTER TABLE payments_ledgerentry DISABLE TRIGGER append_only",
          "ALTER TABLE payments_ledgerentry ENABLE TRIGGER append_only"),
    Plant("own_tables_only", "users", "orders_copy", "CREATE TABLE orders_copy ()", "DROP TABLE orders_copy"),
    swap("message_state", "notifications", "%(bought)s order_confirmed by email", *MAIL,
         "due_at = now() + interval '1 hour'", "due_at = NULL"),
    swap("told_once", "notifications", "planted", "notifications_message",
         "order_id IN (%(bought)s, %(refused)s) AND channel = 'email'",
         "message_id = concat('<', id, '@127.0.0.1>')", "message_id = 'planted'"),
    swap("message_goes_out", "notifications", "%(bought)s order_confirmed by email", *MAIL,
         "due_at = now() + interval '1 hour'", "due_at = now() - interval '1 hour'"),
    Plant("one_refresh_token", "users", "%(family)s",
          "INSERT INTO users_refreshtoken (digest, family_id, expires_at) VALUES ('planted', %(family)s, now())",
          "DELETE FROM users_refreshtoken WHERE digest = 'planted'"),
    swap("disabled_signed_out", "users", "%(user)s", "users_user", "id = %(user)s", "is_active = true", "is_active = false"),
    swap("staff_audited", "users", "%(user)s", "users_user", "id = %(user)s", "permissions = '{}'", "permissions = '{*}'"),
    swap("confirmed_has_stock", "inventory", BOUGHT, "inventory_reservation", "order_id = %(bought)s",
         "status = 'committed'", "status = 'restocked'",
         also=(("stock_has_order", BOUGHT), ("reservation_path", BOUGHT), ("sold_once", BOUGHT))),
    swap("stock_as_ordered", "orders", BOUGHT, "orders_orderline", "order_id = %(bought)s",
         "sku = %(sku)s", "sku = %(rare)s"),
    Plant("stock_has_order", "inventory", "%(nobody)s",
          """INSERT INTO inventory_reservation (order_id, status, sequence, created_at)
             VALUES (%(nobody)s, 'committed', 0, now() - interval '40 days')""",
          "DELETE FROM inventory_reservation WHERE order_id = %(nobody)s"),
    swap("payment_as_ordered", "orders", BOUGHT, "orders_order", "id = %(bought)s",
         "payment_id = %(bought_payment)s", "payment_id = %(nobody)s"),
    swap("payment_as_ordered", "orders", "%(refused)s", "orders_order", "id = %(refused)s",
         "payment_id = NULL", "payment_id = %(nobody)s"),
    swap("payment_as_ordered", "payments", BOUGHT, *PAYMENT_BOUGHT, "currency = 'EUR'", "currency = 'USD'",
         also=(("ledger_balances", BOUGHT), ("provider_agrees", BOUGHT))),
    swap("confirmed_is_paid", "payments", "%(on_hold)s", "payments_payment", "order_id = %(on_hold)s",
         "status = 'capture_refused'", "status = 'voided'"),
    swap("undone_is_unpaid", "payments", "%(voided)s", "payments_payment", "order_id = %(voided)s",
         "status = 'voided', due_at = NULL", "status = 'requires_action', due_at = now() + interval '1 hour'"),
    Plant("money_has_order", "payments", "%(nobody)s",
          """INSERT INTO payments_payment (id, order_id, provider, token, status, amount, authorized, captured, refunded,
                 pending, currency, reason, reference, action_url, cancel_wanted, version, sequence)
             VALUES (%(nobody)s, %(nobody)s, '', '', 'captured', 5, 5, 5, 0, 0, 'EUR', '', '', '', false, 1, 0)""",
          "DELETE FROM payments_payment WHERE id = %(nobody)s", also=(("ledger_balances", "%(nobody)s"),)),
    swap("customer_was_told", "notifications", BOUGHT, *MAIL,
         "template = 'order_confirmed'", "template = 'order_put_on_hold'"),
    swap("told_the_customer", "notifications", BOUGHT, *MAIL, "user_id = %(user)s", "user_id = %(nobody)s"),
    swap("customer_was_welcomed", "notifications", "%(user)s", "notifications_message",
         "user_id = %(user)s AND order_id IS NULL", "template = 'welcome'", "template = 'order_rejected'"),
    swap("customer_was_welcomed", "notifications", "%(nobody)s", "notifications_message",
         "user_id IN (%(user)s, %(nobody)s) AND order_id IS NULL", "user_id = %(user)s", "user_id = %(nobody)s",
         also=(("customer_was_welcomed", "%(user)s"),)),
    swap("acknowledged_is_received", "notifications", "orders.order:%(bought)s#2 to notifications", *ROW_OF_RECEIPT,
         "received_at = now()", "received_at = now() - interval '29 days'"),
    swap("received_was_announced", "notifications",
         "orders.order:%(bought)s#2 for notifications.write_receipt", *ROW_OF_RECEIPT,
         "envelope = envelope #- '{payload,planted}'", "envelope = jsonb_set(envelope, '{payload,planted}', '1')"),
]  # fmt: skip
