"""New help texts. No SQL."""

import django.contrib.postgres.fields
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("users", "0001_initial")]

    operations = [
        migrations.AlterField(
            model_name="signinattempts",
            name="subject",
            field=models.CharField(
                help_text="Keyed hash of the account or of the client address.",
                max_length=64,
                primary_key=True,
                serialize=False,
            ),
        ),
        migrations.AlterField(
            model_name="user",
            name="permissions",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(max_length=64),
                blank=True,
                default=list,
                help_text="Comma-separated, for example orders.view, orders.change. * grants all permissions.",
                size=None,
            ),
        ),
    ]
