"""An index by which the keys of a deleted order are found."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False  # CREATE INDEX CONCURRENTLY runs in no transaction
    dependencies = [("shop", "0014_retention")]

    operations = [
        AddIndexConcurrently(
            "idempotencykey",
            models.Index(condition=models.Q(("resource__isnull", False)), fields=["resource"], name="idempotency_key_resource"),
        ),
    ]
