
import django.db.models.deletion
import django.db.models.functions.datetime
import uuid
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='AuditEntry',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('actor', models.CharField(max_length=254)),
                ('action', models.CharField(max_length=100)),
                ('object_type', models.CharField(max_length=100)),
                ('object_id', models.CharField(max_length=100)),
                ('detail', models.JSONField(default=dict)),
            ],
            options={
                'verbose_name_plural': 'audit entries',
                'ordering': [models.OrderBy(models.F('at'), descending=True)],
                'indexes': [models.Index(fields=['object_type', 'object_id'], name='audit_object')],
            },
        ),
        migrations.CreateModel(
            name='IdempotencyKey',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('scope', models.CharField(help_text='Who, method and path.', max_length=200)),
                ('key', models.CharField(max_length=255)),
                ('fingerprint', models.CharField(help_text='Keyed hash of the body.', max_length=64)),
                ('resource', models.UUIDField(blank=True, null=True)),
                ('status', models.SmallIntegerField(blank=True, help_text='Of the final answer; empty until there is one.', null=True)),
                ('body', models.BinaryField(blank=True, null=True)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'indexes': [models.Index(fields=['created_at'], name='idempotency_key_age')],
                'constraints': [models.UniqueConstraint(fields=('scope', 'key'), name='one_row_per_idempotency_key')],
            },
        ),
        migrations.CreateModel(
            name='InboxRow',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('attempt', models.IntegerField(db_default=0, default=0)),
                ('lease_until', models.DateTimeField(blank=True, null=True)),
                ('due_at', models.DateTimeField(blank=True, help_text='When the sweeper looks at it next; never if empty.', null=True)),
                ('woken', models.BooleanField(db_default=False, default=False, help_text='Something happened while the lease was busy.')),
                ('event_id', models.UUIDField()),
                ('handler', models.CharField(max_length=100)),
                ('ordered', models.BooleanField()),
                ('name', models.CharField(max_length=100)),
                ('stream', models.CharField(max_length=150)),
                ('sequence', models.BigIntegerField()),
                ('envelope', models.JSONField()),
                ('received_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('starts', models.IntegerField(db_default=0, default=0, help_text='Started without an end, in a row.')),
                ('failures', models.IntegerField(db_default=0, default=0)),
                ('handled_at', models.DateTimeField(blank=True, null=True)),
                ('parked_at', models.DateTimeField(blank=True, null=True)),
                ('discarded_because', models.TextField(blank=True, db_default='')),
                ('error', models.TextField(blank=True, db_default='')),
            ],
            options={
                'verbose_name': 'event received',
                'verbose_name_plural': 'events received',
                'indexes': [models.Index(condition=models.Q(('handled_at', None), ('parked_at', None)), fields=['due_at'], name='inbox_due'), models.Index(condition=models.Q(('handled_at', None), ('parked_at', None), ('starts__gt', 0)), fields=['id'], name='inbox_started_before'), models.Index(condition=models.Q(('handled_at', None)), fields=['handler', 'stream', 'sequence'], name='inbox_in_order'), models.Index(condition=models.Q(('parked_at__isnull', False)), fields=['parked_at'], name='inbox_parked')],
                'constraints': [models.UniqueConstraint(fields=('event_id', 'handler'), name='one_inbox_row_per_handler')],
            },
        ),
        migrations.CreateModel(
            name='OutboxEvent',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(max_length=100)),
                ('version', models.SmallIntegerField()),
                ('stream', models.CharField(max_length=150)),
                ('sequence', models.BigIntegerField()),
                ('occurred_at', models.DateTimeField()),
                ('hops', models.SmallIntegerField(default=0)),
                ('correlation_id', models.CharField(max_length=64)),
                ('causation_id', models.CharField(max_length=64)),
                ('traceparent', models.CharField(blank=True, max_length=64)),
                ('payload', models.JSONField()),
            ],
            options={
                'verbose_name': 'event announced',
                'verbose_name_plural': 'events announced',
                'constraints': [models.UniqueConstraint(fields=('stream', 'sequence'), name='one_event_per_sequence')],
            },
        ),
        migrations.CreateModel(
            name='Delivery',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('subscriber', models.CharField(max_length=30)),
                ('stream', models.CharField(max_length=150)),
                ('sequence', models.BigIntegerField()),
                ('due_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('attempts', models.IntegerField(db_default=0, default=0)),
                ('acknowledged_at', models.DateTimeField(blank=True, null=True)),
                ('error', models.TextField(blank=True, db_default='')),
                ('event', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='deliveries', to='shop.outboxevent')),
            ],
            options={
                'verbose_name_plural': 'deliveries',
                'indexes': [models.Index(condition=models.Q(('acknowledged_at', None)), fields=['due_at'], name='delivery_due'), models.Index(condition=models.Q(('acknowledged_at', None)), fields=['subscriber', 'stream', 'sequence'], name='delivery_in_order')],
                'constraints': [models.UniqueConstraint(fields=('event', 'subscriber'), name='one_delivery_per_subscriber')],
            },
        ),
    ]
