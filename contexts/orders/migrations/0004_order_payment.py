"""The state of an order's payment after the checkout."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('orders', '0003_seen_price'),
    ]

    operations = [
        migrations.CreateModel(
            name='OrderPayment',
            fields=[
                ('order', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='payment_summary', serialize=False, to='orders.order')),
                ('version', models.BigIntegerField(default=0, help_text='Version of the payment that was read.')),
                ('status', models.CharField(max_length=20)),
                ('captured', models.BigIntegerField(default=0, help_text='In minor units, as all amounts of this table.')),
                ('refunded', models.BigIntegerField(default=0)),
                ('disputed', models.BigIntegerField(default=0)),
                ('dispute', models.CharField(default='none', max_length=10)),
                ('attention', models.CharField(blank=True, help_text='What staff have to decide about the payment.', max_length=20)),
                ('refunds', models.JSONField(default=list, help_text='Refunds that were made: id, amount, cause, at.')),
                ('timeline', models.JSONField(default=list, help_text='Entries for the timeline of the order.')),
                ('sequence', models.BigIntegerField(default=0, help_text='Raised by every published event.')),
            ],
            options={
                'indexes': [models.Index(condition=models.Q(('attention', ''), _negated=True), fields=['attention'], name='order_payment_attention')],
                'constraints': [models.CheckConstraint(condition=models.Q(('captured__gte', models.F('refunded')), ('refunded__gte', 0)), name='order_refunds_within_captured')],
            },
        ),
    ]
