import django.db.models.functions.comparison
import django.db.models.functions.datetime
import shop.ids
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='Message',
            fields=[
                ('attempt', models.IntegerField(db_default=0, default=0)),
                ('lease_until', models.DateTimeField(blank=True, null=True)),
                ('due_at', models.DateTimeField(blank=True, help_text='When the sweeper looks at it next; never if empty.', null=True)),
                ('woken', models.BooleanField(db_default=False, default=False, help_text='Something happened while the lease was busy.')),
                ('id', models.UUIDField(default=shop.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('order_id', models.UUIDField(blank=True, null=True)),
                ('user_id', models.UUIDField(blank=True, help_text='Empty for a guest.', null=True)),
                ('subject_id', models.GeneratedField(db_persist=True, expression=django.db.models.functions.comparison.Coalesce('order_id', 'user_id'), help_text='What it is about: the order, or else the user.', output_field=models.UUIDField())),
                ('template', models.CharField(choices=[('order_confirmed', 'Order Confirmed'), ('order_rejected', 'Order Rejected'), ('order_cancelled', 'Order Cancelled'), ('order_put_on_hold', 'Order Put On Hold'), ('welcome', 'Welcome')], max_length=30)),
                ('channel', models.CharField(choices=[('in_app', 'in-app'), ('email', 'e-mail')], max_length=10)),
                ('status', models.CharField(choices=[('waiting', 'Waiting'), ('sent', 'Sent'), ('failed', 'Failed')], max_length=10)),
                ('text', models.TextField(blank=True, db_default='', help_text='In-app only; an e-mail leaves no copy here.')),
                ('message_id', models.CharField(blank=True, db_default='', max_length=300, verbose_name='Message-ID')),
                ('reason', models.CharField(blank=True, db_default='', help_text='Why it is not sent yet, or never.', max_length=300)),
                ('sequence', models.BigIntegerField(db_default=0, default=0)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('sent_at', models.DateTimeField(blank=True, null=True)),
                ('read_at', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'indexes': [models.Index(condition=models.Q(('due_at__isnull', False)), fields=['due_at'], name='message_due'), models.Index(condition=models.Q(('channel', 'in_app')), fields=['user_id', '-id'], name='message_inbox')],
                'constraints': [models.UniqueConstraint(fields=('subject_id', 'template', 'channel'), name='one_message_per_subject'), models.CheckConstraint(condition=models.Q(models.Q(('channel', 'in_app'), ('user_id__isnull', False)), models.Q(('channel', 'email'), ('order_id__isnull', False), ('text', '')), _connector='OR'), name='message_fits_channel')],
            },
        ),
    ]
