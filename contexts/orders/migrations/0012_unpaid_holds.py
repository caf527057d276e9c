"""Orders that hold stock while they wait for their payment, once for each key that their limits count by."""

import django.db.models.deletion
from django.db import migrations, models
from django.db.models.functions import Now


class Migration(migrations.Migration):
    dependencies = [("orders", "0011_no_tokens_in_stored_responses")]

    operations = [
        migrations.AddField(
            "order",
            "hold_keys",
            models.JSONField(
                blank=True,
                help_text="Keyed hashes by which the stock is counted that the order holds unpaid. "
                "Deleted once it is counted or paid.",
                null=True,
            ),
        ),
        migrations.CreateModel(
            "UnpaidHold",
            [
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("subject", models.CharField(max_length=64)),
                ("units", models.BigIntegerField()),
                ("created_at", models.DateTimeField(db_default=Now())),
                (
                    "order",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="unpaid_holds", to="orders.order"
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["created_at"], name="unpaid_hold_age")],
                "constraints": [
                    models.UniqueConstraint(fields=("subject", "order"), name="order_is_held_once_by_subject"),
                    models.CheckConstraint(condition=models.Q(("units__gt", 0)), name="hold_has_units"),
                ],
            },
        ),
    ]
