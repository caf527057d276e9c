"""Find the payments of older releases, which have no order number yet."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False  # CREATE INDEX CONCURRENTLY runs in no transaction
    dependencies = [("payments", "0007_failed_refunds")]

    operations = [
        AddIndexConcurrently(
            "payment",
            models.Index(
                condition=models.Q(("order_number", ""), models.Q(("provider", ""), _negated=True)),
                fields=["order_id"],
                name="payment_without_number",
            ),
        ),
    ]
