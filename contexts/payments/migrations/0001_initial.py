import django.db.models.deletion
import django.db.models.expressions
import django.db.models.functions.datetime
import shop.ids
from django.db import migrations, models

# Triggers keep the ledger append-only, and amounts from falling.
CREATE_TRIGGERS = """
CREATE FUNCTION payments_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of % is not allowed: %', TG_OP, TG_TABLE_NAME, TG_ARGV[0] USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON payments_ledgerentry
    FOR EACH STATEMENT EXECUTE FUNCTION payments_refuse('the ledger is append-only');
CREATE TRIGGER amounts_only_grow BEFORE UPDATE OF authorized, captured, refunded ON payments_payment FOR EACH ROW
    WHEN (NEW.authorized < OLD.authorized OR NEW.captured < OLD.captured OR NEW.refunded < OLD.refunded)
    EXECUTE FUNCTION payments_refuse('amounts only grow');
"""
DROP_TRIGGERS = """
DROP TRIGGER amounts_only_grow ON payments_payment;
DROP TRIGGER append_only ON payments_ledgerentry;
DROP FUNCTION payments_refuse();
"""

# The sandbox's tables stand for an external service: the code of payments reads them only through the provider port.
CREATE_SANDBOX = """
CREATE TABLE payments_sandboxintent (
    reference varchar(100) PRIMARY KEY,
    token varchar(100) NOT NULL DEFAULT '',
    amount bigint NOT NULL DEFAULT 0,
    currency varchar(3) NOT NULL DEFAULT '',
    status varchar(20) NOT NULL,
    reason varchar(200) NOT NULL DEFAULT '',
    captured bigint NOT NULL DEFAULT 0,
    refunded bigint NOT NULL DEFAULT 0,
    confirms int NOT NULL DEFAULT 1, -- how often it was asked to
    charges int NOT NULL DEFAULT 0,  -- how often it set money aside
    captures int NOT NULL DEFAULT 0, -- how often it was asked to
    CHECK (0 <= refunded AND refunded <= captured AND captured <= amount)
);
CREATE TABLE payments_sandboxrefund (
    key varchar(100) PRIMARY KEY,
    reference varchar(100) NOT NULL REFERENCES payments_sandboxintent,
    amount bigint NOT NULL
);
"""
DROP_SANDBOX = "DROP TABLE payments_sandboxrefund; DROP TABLE payments_sandboxintent;"


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='Payment',
            fields=[
                ('attempt', models.IntegerField(db_default=0, default=0)),
                ('lease_until', models.DateTimeField(blank=True, null=True)),
                ('due_at', models.DateTimeField(blank=True, help_text='When the sweeper looks at it next; never if empty.', null=True)),
                ('woken', models.BooleanField(db_default=False, default=False, help_text='Something happened while the lease was busy.')),
                ('id', models.UUIDField(default=shop.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('order_id', models.UUIDField(unique=True)),
                ('customer_id', models.UUIDField(blank=True, help_text='Who may look at it; empty for a guest.', null=True)),
                ('provider', models.CharField(blank=True, max_length=50)),
                ('token', models.TextField(blank=True, help_text="From the provider's form; forgotten once the provider has answered.")),
                ('status', models.CharField(choices=[('processing', 'processing'), ('unknown', 'unknown'), ('requires_action', 'requires action'), ('authorized', 'authorized'), ('capturing', 'capturing'), ('captured', 'captured'), ('capture_refused', 'capture refused'), ('declined', 'declined'), ('voiding', 'voiding'), ('voided', 'voided'), ('refunding', 'refunding'), ('refunded', 'refunded')], max_length=20)),
                ('amount', models.BigIntegerField(help_text='Minor units, as all amounts here.')),
                ('authorized', models.BigIntegerField(default=0)),
                ('captured', models.BigIntegerField(default=0)),
                ('refunded', models.BigIntegerField(default=0)),
                ('pending', models.BigIntegerField(default=0, help_text='What the running refund gives back.')),
                ('refund_id', models.UUIDField(blank=True, help_text='The running refund.', null=True)),
                ('currency', models.CharField(max_length=3)),
                ('reason', models.CharField(blank=True, help_text="The provider's, for a refusal.", max_length=200)),
                ('reference', models.CharField(blank=True, help_text='What the provider knows the payment by.', max_length=100)),
                ('action_url', models.CharField(blank=True, max_length=1000)),
                ('cancel_wanted', models.BooleanField(default=False)),
                ('version', models.BigIntegerField(default=1, help_text='Raised by every change.')),
                ('sequence', models.BigIntegerField(default=0, help_text='Raised by every announcement.')),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'indexes': [models.Index(condition=models.Q(('due_at__isnull', False)), fields=['due_at'], name='payment_due')],
                'constraints': [models.CheckConstraint(condition=models.Q(('captured__gte', django.db.models.expressions.CombinedExpression(models.F('refunded'), '+', models.F('pending'))), ('pending__gte', 0), ('refunded__gte', 0)), name='refunds_within_captured'), models.CheckConstraint(condition=models.Q(('authorized__lte', models.F('amount')), ('captured__lte', models.F('authorized'))), name='captured_within_authorized'), models.UniqueConstraint(condition=models.Q(('reference', ''), _negated=True), fields=('reference',), name='one_payment_per_reference')],
            },
        ),
        migrations.CreateModel(
            name='LedgerEntry',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('booking', models.CharField(help_text="capture, or the refund's id.", max_length=50)),
                ('account', models.CharField(choices=[('provider', 'owed by the provider'), ('sales', 'sales')], max_length=20)),
                ('amount', models.BigIntegerField()),
                ('currency', models.CharField(max_length=3)),
                ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('payment', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='entries', to='payments.payment')),
            ],
            options={
                'verbose_name_plural': 'ledger entries',
                'constraints': [models.UniqueConstraint(fields=('payment', 'booking', 'account'), name='booked_once')],
            },
        ),
        migrations.CreateModel(
            name='Refund',
            fields=[
                ('id', models.UUIDField(default=shop.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('amount', models.BigIntegerField()),
                ('reason', models.CharField(max_length=200)),
                ('key', models.CharField(help_text='Of the request: repeated, it is the same refund.', max_length=500, unique=True)),
                ('fingerprint', models.CharField(blank=True, help_text="Keyed hash of the request's body.", max_length=64)),
                ('status', models.CharField(choices=[('pending', 'pending'), ('done', 'done'), ('refused', 'refused')], max_length=10)),
                ('refusal', models.CharField(blank=True, help_text="The provider's reason.", max_length=200)),
                ('actor', models.CharField(blank=True, help_text='Empty: the order was called off.', max_length=64)),
                ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('payment', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='refunds', to='payments.payment')),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('amount__gte', 0)), name='refund_not_negative'), models.UniqueConstraint(condition=models.Q(('status', 'pending')), fields=('payment',), name='one_running_refund')],
            },
        ),
        migrations.RunSQL(CREATE_TRIGGERS, DROP_TRIGGERS),
        migrations.RunSQL(CREATE_SANDBOX, DROP_SANDBOX),
    ]
