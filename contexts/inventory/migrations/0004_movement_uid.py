"""Give the stock movements of staff an id, which the idempotency key of the request names."""

from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    atomic = False  # PostgreSQL builds an index concurrently only outside of a transaction

    dependencies = [("inventory", "0003_help_texts")]

    operations = [
        migrations.AddField(
            model_name="stockmovement",
            name="uid",
            field=models.UUIDField(
                blank=True,
                editable=False,
                help_text="Of a receipt or adjustment; its idempotency key names it.",
                null=True,
                verbose_name="id",
            ),
        ),
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    """CREATE UNIQUE INDEX CONCURRENTLY one_movement_per_uid
                       ON inventory_stockmovement (uid) WHERE uid IS NOT NULL""",
                    "DROP INDEX CONCURRENTLY one_movement_per_uid",
                )
            ],
            state_operations=[
                migrations.AddConstraint(
                    model_name="stockmovement",
                    constraint=models.UniqueConstraint(
                        condition=Q(("uid__isnull", False)),
                        fields=("uid",),
                        name="one_movement_per_uid",
                    ),
                )
            ],
        ),
    ]
