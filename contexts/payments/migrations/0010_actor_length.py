"""Room for the whole e-mail address of a member of staff. A longer limit rewrites no table."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("payments", "0009_attempts")]

    operations = [
        migrations.AlterField(
            "refund",
            "actor",
            models.CharField(
                blank=True, help_text="Empty if no member of staff requested it.", max_length=254
            ),
        ),
    ]
