"""Remove the default currency of a price: each writer states the currency. No SQL."""

import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("inventory", "0004_movement_uid")]

    operations = [
        migrations.AlterField(
            model_name="variant",
            name="currency",
            field=models.CharField(editable=False, max_length=3),
        ),
        migrations.AlterField(
            model_name="variant",
            name="price",
            field=models.BigIntegerField(
                help_text="In minor units of its currency.",
                validators=[
                    django.core.validators.MinValueValidator(0),
                    django.core.validators.MaxValueValidator(1000000000000),
                ],
            ),
        ),
    ]
