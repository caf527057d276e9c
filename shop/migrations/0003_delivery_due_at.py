from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("shop", "0002_nothing_changed")]

    operations = [
        AddIndexConcurrently(
            "delivery",
            models.Index(
                condition=models.Q(("acknowledged_at", None), ("due_at__isnull", False)),
                fields=["due_at"],
                name="delivery_due_at",
            ),
        ),
        RemoveIndexConcurrently("delivery", "delivery_due"),
    ]
