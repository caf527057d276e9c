"""Index payments by the time of their next check, and schedule the first check of those that exist already."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models

BATCH_SIZE = 1000
# Spread over a day, so that the provider is not asked about all of them at once.
SCHEDULE = """
WITH batch AS (SELECT id FROM payments_payment WHERE id > %s ORDER BY id LIMIT %s),
scheduled AS (
    UPDATE payments_payment SET check_at = now() + random() * interval '1 day'
    WHERE id IN (SELECT id FROM batch) AND check_at IS NULL AND reference <> ''
          AND created_at > now() - interval '120 days'
          AND status IN ('authorized', 'captured', 'capture_refused', 'declined', 'voided', 'refunded'))
SELECT max(id::text) FROM batch
"""


def schedule_checks(apps, schema_editor):
    last_id = "00000000-0000-0000-0000-000000000000"
    with schema_editor.connection.cursor() as cursor:
        while last_id:
            cursor.execute(SCHEDULE, [last_id, BATCH_SIZE])
            [(last_id,)] = cursor.fetchall()


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("payments", "0003_money_moved_at_the_provider")]

    operations = [
        AddIndexConcurrently(
            "payment",
            models.Index(
                condition=models.Q(("check_at__isnull", False)), fields=["check_at"], name="payment_check"
            ),
        ),
        AddIndexConcurrently(
            "payment",
            models.Index(
                condition=models.Q(("attention", ""), _negated=True), fields=["attention"], name="payment_attention"
            ),
        ),
        migrations.RunPython(schedule_checks, migrations.RunPython.noop),
    ]
