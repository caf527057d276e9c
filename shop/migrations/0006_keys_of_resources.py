"""Index only the idempotency keys that are purged: those of a resource are kept."""

from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False  # PostgreSQL builds an index concurrently only outside of a transaction

    dependencies = [("shop", "0005_plain_help_texts")]

    operations = [
        migrations.AlterField(
            model_name="idempotencykey",
            name="resource",
            field=models.UUIDField(
                blank=True, help_text="What the request created. The key is kept as long as the resource.", null=True
            ),
        ),
        AddIndexConcurrently(
            model_name="idempotencykey",
            index=models.Index(
                condition=models.Q(("resource__isnull", True)), fields=["created_at"], name="idempotency_key_purge"
            ),
        ),
        RemoveIndexConcurrently("idempotencykey", "idempotency_key_age"),
    ]
