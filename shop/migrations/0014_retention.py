"""Indexes by which old rows are found, and the results of deleting them."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False  # CREATE INDEX CONCURRENTLY runs in no transaction
    dependencies = [("shop", "0013_received_calls")]

    operations = [
        migrations.CreateModel(
            name="Purge",
            fields=[
                ("rule", models.CharField(help_text="The table, or the table and a column.", max_length=120, primary_key=True, serialize=False)),
                ("started_at", models.DateTimeField(help_text="Start of the last run.")),
                ("finished_at", models.DateTimeField(blank=True, help_text="End of the last run without an error.", null=True)),
                ("deleted", models.BigIntegerField(db_default=0, default=0, help_text="Rows deleted since the beginning.")),
                ("behind_since", models.DateTimeField(blank=True, help_text="Since when no run has had the time to delete all rows that are old enough.", null=True)),
                ("failures", models.IntegerField(db_default=0, default=0, help_text="Consecutive runs that failed.")),
                ("failed_at", models.DateTimeField(blank=True, null=True)),
                ("error", models.TextField(blank=True, db_default="")),
            ],
        ),
        AddIndexConcurrently(
            "outboxevent", models.Index(fields=["occurred_at"], name="outbox_event_age")
        ),
        AddIndexConcurrently(
            "inboxrow", models.Index(condition=models.Q(("handled_at__isnull", False)), fields=["handled_at"], name="inbox_age")
        ),
        AddIndexConcurrently(
            "batchjob", models.Index(condition=models.Q(("finished_at__isnull", False)), fields=["finished_at"], name="batch_job_age")
        ),
        AddIndexConcurrently(
            "batchjob", models.Index(condition=models.Q(("started_at", None)), fields=["created_at"], name="batch_job_unconfirmed")
        ),
    ]
