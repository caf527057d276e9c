"""Batch jobs: actions on many objects."""

import django.db.models.functions.datetime
import shop.ids
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('shop', '0009_rate_limits'),
    ]

    operations = [
        migrations.CreateModel(
            name='BatchJob',
            fields=[
                ('attempt', models.IntegerField(db_default=0, default=0)),
                ('lease_until', models.DateTimeField(blank=True, null=True)),
                ('due_at', models.DateTimeField(blank=True, help_text='When a worker processes the row next. Empty: never.', null=True)),
                ('woken', models.BooleanField(db_default=False, default=False, help_text='Whether a request arrived while a worker held the lease.')),
                ('id', models.UUIDField(default=shop.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('action', models.CharField(max_length=100)),
                ('actor', models.CharField(max_length=254)),
                ('objects_to_change', models.JSONField(help_text='Key, label and argument of each object.')),
                ('total', models.IntegerField()),
                ('position', models.IntegerField(db_default=0, default=0, help_text='Number of objects that are processed.')),
                ('failed', models.IntegerField(db_default=0, default=0)),
                ('failures', models.JSONField(default=list, help_text='Key, label and error of the first objects that failed.')),
                ('error', models.TextField(blank=True, db_default='', help_text='The outage for which the job waits.')),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('started_at', models.DateTimeField(blank=True, help_text='Empty until it is confirmed.', null=True)),
                ('finished_at', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'indexes': [models.Index(condition=models.Q(('due_at__isnull', False)), fields=['due_at'], name='batch_job_due'), models.Index(fields=['action', '-created_at'], name='batch_jobs_of_an_action')],
                'constraints': [models.CheckConstraint(condition=models.Q(('failed__gte', 0), ('failed__lte', models.F('position')), ('position__gte', 0), ('position__lte', models.F('total'))), name='batch_job_position'), models.CheckConstraint(condition=models.Q(('finished_at', None), ('position', models.F('total')), _connector='OR'), name='batch_job_finishes_at_its_end')],
            },
        ),
    ]
