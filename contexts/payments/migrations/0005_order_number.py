"""The number of the order, by which staff search for its payment."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("payments", "0004_payment_checks")]

    operations = [
        migrations.AddField(
            "payment",
            "order_number",
            models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="The number that people know the order by.",
                max_length=12,
            ),
        ),
    ]
