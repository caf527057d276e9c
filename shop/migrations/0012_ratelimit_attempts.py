"""Count attempts that are under way apart from failures. A default in the database rewrites no table."""

from django.contrib.postgres.fields import ArrayField
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("shop", "0011_stop_batch_jobs")]

    operations = [
        migrations.AddField(
            "ratelimit",
            "attempts",
            ArrayField(
                base_field=models.DateTimeField(),
                db_default=[],
                default=list,
                help_text="Of a limit of failures: when each attempt that is under way was counted.",
                size=None,
            ),
        ),
    ]
