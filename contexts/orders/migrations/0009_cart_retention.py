"""The time of a cart's last change, and indexes by which old carts are found."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models.functions import Now


class Migration(migrations.Migration):
    atomic = False  # CREATE INDEX CONCURRENTLY runs in no transaction
    dependencies = [("orders", "0008_order_attempt_counters")]

    operations = [
        migrations.AddField("cart", "changed_at", models.DateTimeField(db_default=Now(), editable=False)),
        AddIndexConcurrently("cart", models.Index(fields=["changed_at"], name="cart_age")),
        AddIndexConcurrently(
            "cart", models.Index(condition=models.Q(("version", 0)), fields=["created_at"], name="cart_unused")
        ),
    ]
