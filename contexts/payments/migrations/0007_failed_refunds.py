"""Refunds that fail after they were made, and captures of a part."""

from django.db import migrations, models

# A failed refund takes its amount out of `refunded`: the sum of both only grows.
REPLACE_TRIGGER = """
DROP TRIGGER amounts_only_grow ON payments_payment;
CREATE TRIGGER amounts_only_grow BEFORE UPDATE OF authorized, captured, refunded, refunds_failed ON payments_payment
    FOR EACH ROW
    WHEN (NEW.authorized < OLD.authorized OR NEW.captured < OLD.captured OR NEW.refunds_failed < OLD.refunds_failed
          OR NEW.refunded + NEW.refunds_failed < OLD.refunded + OLD.refunds_failed)
    EXECUTE FUNCTION payments_refuse('amounts only grow');
"""
RESTORE_TRIGGER = """
DROP TRIGGER amounts_only_grow ON payments_payment;
CREATE TRIGGER amounts_only_grow BEFORE UPDATE OF authorized, captured, refunded ON payments_payment FOR EACH ROW
    WHEN (NEW.authorized < OLD.authorized OR NEW.captured < OLD.captured OR NEW.refunded < OLD.refunded)
    EXECUTE FUNCTION payments_refuse('amounts only grow');
"""
CHANGE_SANDBOX = """
ALTER TABLE payments_sandboxintent
    ADD COLUMN refunds_failed bigint NOT NULL DEFAULT 0 CHECK (refunds_failed >= 0),
    ADD COLUMN capture_key varchar(100) NOT NULL DEFAULT '';
ALTER TABLE payments_sandboxrefund
    ADD COLUMN has_failed boolean NOT NULL DEFAULT false,
    ADD COLUMN made_at timestamptz NOT NULL DEFAULT now();
"""
RESTORE_SANDBOX = """
ALTER TABLE payments_sandboxintent DROP COLUMN refunds_failed, DROP COLUMN capture_key;
ALTER TABLE payments_sandboxrefund DROP COLUMN has_failed, DROP COLUMN made_at;
"""


class Migration(migrations.Migration):
    dependencies = [("payments", "0006_search_index")]

    operations = [
        migrations.AddField(
            "payment",
            "capturing",
            models.BigIntegerField(db_default=0, default=0, help_text="Amount of the running capture."),
        ),
        migrations.AddField(
            "payment",
            "refunds_failed",
            models.BigIntegerField(
                db_default=0,
                default=0,
                help_text="Refunds that the customer's bank returned later, since the beginning.",
            ),
        ),
        migrations.AddField(
            "payment",
            "owed",
            models.BigIntegerField(
                db_default=0,
                default=0,
                help_text="What such refunds owe the customer, until it is refunded again or accepted.",
            ),
        ),
        migrations.AlterField(
            "payment",
            "attention",
            models.CharField(
                blank=True,
                choices=[
                    ("refund_refused", "refund refused"),
                    ("disputed", "disputed"),
                    ("captured_in_part", "captured in part"),
                    ("refund_failed", "refund failed"),
                ],
                db_default="",
                default="",
                help_text="What staff have to decide. Empty if nothing.",
                max_length=20,
            ),
        ),
        migrations.AlterField(
            "refund",
            "status",
            models.CharField(
                choices=[("pending", "pending"), ("done", "done"), ("refused", "refused"), ("failed", "failed")],
                max_length=10,
            ),
        ),
        migrations.RunSQL(REPLACE_TRIGGER, RESTORE_TRIGGER),
        migrations.RunSQL(CHANGE_SANDBOX, RESTORE_SANDBOX),
    ]
