from django.contrib.postgres.fields import ArrayField
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("shop", "0008_delivery_parked")]

    operations = [
        migrations.CreateModel(
            name="RateLimit",
            fields=[
                (
                    "subject",
                    models.CharField(
                        help_text="Keyed hash of the limit and of what it counts by.",
                        max_length=64,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "hits",
                    ArrayField(
                        base_field=models.DateTimeField(),
                        help_text="When each request was counted, the oldest first.",
                        size=None,
                    ),
                ),
                ("quota", models.IntegerField()),
                ("period", models.DurationField()),
                ("expires_at", models.DateTimeField()),
            ],
            options={
                "verbose_name": "rate limit counter",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("hits__len__lte", models.F("quota"))), name="rate_limit_within_quota"
                    )
                ],
            },
        ),
    ]
