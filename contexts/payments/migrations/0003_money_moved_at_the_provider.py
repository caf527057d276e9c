"""Amounts that the provider reports, tasks for staff, and the time of the next comparison."""

from django.db import migrations, models


# `moved_at`: when money last moved without a request of the shop.
CHANGE_SANDBOX = """
ALTER TABLE payments_sandboxintent
    ADD COLUMN disputed bigint NOT NULL DEFAULT 0 CHECK (disputed >= 0),
    ADD COLUMN dispute varchar(10) NOT NULL DEFAULT 'none',
    ADD COLUMN moved_at timestamptz
"""
RESTORE_SANDBOX = """
ALTER TABLE payments_sandboxintent DROP COLUMN disputed, DROP COLUMN dispute, DROP COLUMN moved_at
"""


class Migration(migrations.Migration):

    dependencies = [
        ('payments', '0002_plain_help_texts'),
    ]

    operations = [
        migrations.AddField(
            model_name='payment',
            name='attention',
            field=models.CharField(blank=True, choices=[('refund_refused', 'refund refused'), ('disputed', 'disputed'), ('captured_in_part', 'captured in part')], db_default='', default='', help_text='What staff have to decide. Empty if nothing.', max_length=20),
        ),
        migrations.AddField(
            model_name='payment',
            name='capture_attempts',
            field=models.IntegerField(db_default=0, default=0, help_text='Captures that were started.'),
        ),
        migrations.AddField(
            model_name='payment',
            name='check_at',
            field=models.DateTimeField(blank=True, help_text='When a settled payment is compared with its provider next. Empty: never.', null=True),
        ),
        migrations.AddField(
            model_name='payment',
            name='checked_at',
            field=models.DateTimeField(blank=True, help_text='When the provider last reported the state of the payment.', null=True),
        ),
        migrations.AddField(
            model_name='payment',
            name='dispute',
            field=models.CharField(choices=[('none', 'none'), ('open', 'open'), ('won', 'won'), ('lost', 'lost')], db_default='none', default='none', max_length=10),
        ),
        migrations.AddField(
            model_name='payment',
            name='disputed',
            field=models.BigIntegerField(db_default=0, default=0, help_text='What a dispute has taken from the shop.'),
        ),
        migrations.AddField(
            model_name='payment',
            name='refunded_elsewhere',
            field=models.BigIntegerField(db_default=0, default=0, help_text='The part of `refunded` that was not paid back through the provider.'),
        ),
        migrations.AddField(
            model_name='payment',
            name='waived',
            field=models.BigIntegerField(db_default=0, default=0, help_text='What staff decided not to refund although the order was cancelled.'),
        ),
        migrations.AddField(
            model_name='refund',
            name='cause',
            field=models.CharField(blank=True, choices=[('staff', 'staff'), ('cancellation', 'cancellation'), ('provider', 'provider'), ('other_means', 'other means')], db_default='', default='', max_length=12),
        ),
        migrations.AlterField(
            model_name='ledgerentry',
            name='account',
            field=models.CharField(choices=[('provider', 'owed by the provider'), ('sales', 'sales'), ('disputes', 'taken by disputes'), ('other_means', 'paid by other means')], max_length=20),
        ),
        migrations.AlterField(
            model_name='ledgerentry',
            name='booking',
            field=models.CharField(help_text='`capture`, `dispute` with a number, or the id of the refund.', max_length=50),
        ),
        migrations.AlterField(
            model_name='refund',
            name='actor',
            field=models.CharField(blank=True, help_text='Empty if no member of staff requested it.', max_length=64),
        ),
        migrations.RunSQL(CHANGE_SANDBOX, RESTORE_SANDBOX),
    ]
