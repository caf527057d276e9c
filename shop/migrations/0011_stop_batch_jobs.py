"""Batch jobs that staff stop before their last object. The table is small: finished jobs are deleted after 30 days."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("shop", "0010_batch_job")]

    operations = [
        migrations.RemoveConstraint(model_name="batchjob", name="batch_job_finishes_at_its_end"),
        migrations.AddField(
            "batchjob",
            "stopped_at",
            models.DateTimeField(blank=True, help_text="When staff stopped it. No object is begun after.", null=True),
        ),
        migrations.AddField("batchjob", "stopped_by", models.CharField(blank=True, db_default="", max_length=254)),
        migrations.AddConstraint(
            "batchjob",
            models.CheckConstraint(
                condition=models.Q(
                    ("finished_at", None),
                    ("position", models.F("total")),
                    ("stopped_at__isnull", False),
                    _connector="OR",
                ),
                name="batch_job_finishes_at_its_end",
            ),
        ),
    ]
