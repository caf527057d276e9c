"""An index by which old orders are found that were refused for what the quote showed."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False  # CREATE INDEX CONCURRENTLY runs in no transaction
    dependencies = [("orders", "0009_cart_retention")]

    operations = [
        AddIndexConcurrently(
            "order",
            models.Index(
                condition=models.Q(("refusal__is_quoted", True), ("status", "rejected")),
                fields=["created_at"],
                name="order_refused_by_quote",
            ),
        ),
    ]
