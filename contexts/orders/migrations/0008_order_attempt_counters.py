"""What a payment that is declined after the response is counted by."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("orders", "0007_search_indexes")]

    operations = [
        migrations.AddField(
            "order",
            "attempt_counters",
            models.JSONField(
                blank=True,
                help_text="Keyed hashes by which a declined payment is counted, for a limit on them. Deleted with the payment "
                "token.",
                null=True,
            ),
        ),
    ]
