
import django.db.models.deletion
import django.db.models.expressions
import shop.clock
import shop.ids
import uuid
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='Cart',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('user_id', models.UUIDField(blank=True, null=True)),
                ('version', models.IntegerField(db_default=0, default=0, help_text='Raised by each change; an order names the one it saw.')),
                ('created_at', models.DateTimeField(default=shop.clock.now)),
            ],
        ),
        migrations.CreateModel(
            name='Order',
            fields=[
                ('attempt', models.IntegerField(db_default=0, default=0)),
                ('lease_until', models.DateTimeField(blank=True, null=True)),
                ('due_at', models.DateTimeField(blank=True, help_text='When the sweeper looks at it next; never if empty.', null=True)),
                ('woken', models.BooleanField(db_default=False, default=False, help_text='Something happened while the lease was busy.')),
                ('id', models.UUIDField(default=shop.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('number', models.CharField(default=shop.ids.readable_number, max_length=12, unique=True)),
                ('user_id', models.UUIDField(blank=True, null=True)),
                ('email', models.EmailField(max_length=254)),
                ('cart_id', models.UUIDField(blank=True, null=True)),
                ('status', models.CharField(choices=[('pending', 'Pending'), ('confirmed', 'Confirmed'), ('on_hold', 'On Hold'), ('shipped', 'Shipped'), ('delivered', 'Delivered'), ('cancelled', 'Cancelled'), ('rejected', 'Rejected')], default='pending', max_length=10)),
                ('step', models.CharField(choices=[('reserving', 'Reserving'), ('authorizing', 'Authorizing'), ('confirming', 'Confirming'), ('capturing', 'Capturing'), ('done', 'Done'), ('undo_money', 'Undo Money'), ('undo_stock', 'Undo Stock'), ('closed', 'Closed')], default='reserving', max_length=12)),
                ('sequence', models.BigIntegerField(default=1)),
                ('currency', models.CharField(max_length=3)),
                ('items_total', models.BigIntegerField()),
                ('discount_total', models.BigIntegerField(default=0)),
                ('shipping_total', models.BigIntegerField(default=0)),
                ('tax_total', models.BigIntegerField(default=0)),
                ('total', models.BigIntegerField()),
                ('shipping_address', models.JSONField()),
                ('billing_address', models.JSONField(blank=True, null=True)),
                ('payment_provider', models.CharField(max_length=30)),
                ('payment_token', models.CharField(blank=True, help_text='Forgotten once the money is authorized.', max_length=255)),
                ('payment_id', models.UUIDField(blank=True, null=True)),
                ('payment_status', models.CharField(blank=True, max_length=20)),
                ('payment_action', models.JSONField(blank=True, null=True)),
                ('refusal', models.JSONField(blank=True, help_text="Why it was rejected: the error's code and facts.", null=True)),
                ('cancel_requested_at', models.DateTimeField(blank=True, null=True)),
                ('expires_at', models.DateTimeField(help_text='When a checkout that waits is given up.')),
                ('tries', models.IntegerField(default=0, help_text='Of the present step, in a row, without an answer.')),
                ('timeline', models.JSONField(default=list)),
                ('created_at', models.DateTimeField(default=shop.clock.now)),
            ],
            options={
                'ordering': [models.OrderBy(models.F('created_at'), descending=True)],
                'indexes': [models.Index(condition=models.Q(('due_at__isnull', False)), fields=['due_at'], name='order_due'), models.Index(fields=['user_id', '-created_at'], name='orders_of_a_user'), models.Index(fields=['-created_at'], name='order_latest'), models.Index(fields=['email'], name='orders_of_an_email')],
                'constraints': [models.UniqueConstraint(condition=models.Q(('status__in', ['rejected', 'cancelled']), _negated=True), fields=('cart_id',), name='one_live_order_per_cart'), models.CheckConstraint(condition=models.Q(('total', django.db.models.expressions.CombinedExpression(django.db.models.expressions.CombinedExpression(django.db.models.expressions.CombinedExpression(models.F('items_total'), '-', models.F('discount_total')), '+', models.F('shipping_total')), '+', models.F('tax_total')))), name='order_total_adds_up')],
            },
        ),
        migrations.CreateModel(
            name='CartItem',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('sku', models.CharField(max_length=64)),
                ('quantity', models.IntegerField()),
                ('cart', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='items', to='orders.cart')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('cart', 'sku'), name='one_item_per_sku_in_a_cart'), models.CheckConstraint(condition=models.Q(('quantity__gte', 1)), name='cart_quantity_positive')],
            },
        ),
        migrations.CreateModel(
            name='OrderLine',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('position', models.SmallIntegerField()),
                ('sku', models.CharField(max_length=64)),
                ('name', models.CharField(max_length=300)),
                ('quantity', models.IntegerField()),
                ('unit_price', models.BigIntegerField()),
                ('total', models.BigIntegerField()),
                ('order', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='lines', to='orders.order')),
            ],
            options={
                'ordering': ['position'],
                'constraints': [models.UniqueConstraint(fields=('order', 'position'), name='one_line_per_position'), models.CheckConstraint(condition=models.Q(('quantity__gte', 1), ('unit_price__gte', 0)), name='order_line_sane'), models.CheckConstraint(condition=models.Q(('total', django.db.models.expressions.CombinedExpression(models.F('quantity'), '*', models.F('unit_price')))), name='order_line_adds_up')],
            },
        ),
    ]
