"""Pay an order again, with another payment method."""

import django.db.models.deletion
from django.db import migrations, models
from django.db.models.functions import Now

import shop.ids


class Migration(migrations.Migration):
    dependencies = [("payments", "0008_missing_number")]

    operations = [
        migrations.AddField(
            "payment",
            "next_attempt",
            models.UUIDField(
                null=True, blank=True, help_text="The attempt that starts as soon as the present intent is cancelled."
            ),
        ),
        migrations.AddField(
            "payment", "next_provider", models.CharField(max_length=50, blank=True, default="", db_default="")
        ),
        migrations.AddField("payment", "next_token", models.TextField(blank=True, default="", db_default="")),
        migrations.CreateModel(
            name="PaymentAttempt",
            fields=[
                (
                    "id",
                    models.UUIDField(default=shop.ids.uuid7, editable=False, primary_key=True, serialize=False),
                ),
                ("provider", models.CharField(max_length=50)),
                (
                    "reference",
                    models.CharField(
                        help_text="The id of the payment intent at the provider.", max_length=100, unique=True
                    ),
                ),
                ("at", models.DateTimeField(db_default=Now())),
                (
                    "payment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="attempts", to="payments.payment"
                    ),
                ),
            ],
        ),
    ]
