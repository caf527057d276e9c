
import django.contrib.postgres.indexes
import django.contrib.postgres.search
import django.core.validators
import django.db.models.deletion
import django.db.models.functions.datetime
import shop.ids
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='Category',
            fields=[
                ('id', models.UUIDField(default=shop.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('slug', models.SlugField(max_length=100, unique=True)),
                ('name', models.CharField(max_length=100)),
                ('description', models.TextField(blank=True, max_length=2000)),
                ('position', models.PositiveIntegerField(default=0)),
            ],
            options={
                'verbose_name_plural': 'categories',
            },
        ),
        migrations.CreateModel(
            name='Variant',
            fields=[
                ('sku', models.CharField(max_length=64, primary_key=True, serialize=False, validators=[django.core.validators.RegexValidator('^[A-Za-z0-9._-]{1,64}\\Z', 'Letters, digits, dot, underscore and hyphen, at most 64.')], verbose_name='SKU')),
                ('name', models.CharField(max_length=200)),
                ('price', models.BigIntegerField(help_text='In minor units: 1999 is 19.99.', validators=[django.core.validators.MinValueValidator(0), django.core.validators.MaxValueValidator(1000000000000)])),
                ('currency', models.CharField(default='EUR', editable=False, max_length=3)),
                ('position', models.PositiveIntegerField(default=0)),
                ('is_active', models.BooleanField(db_default=True, default=True)),
            ],
        ),
        migrations.CreateModel(
            name='Product',
            fields=[
                ('id', models.UUIDField(default=shop.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('slug', models.SlugField(max_length=100, unique=True)),
                ('name', models.CharField(max_length=200)),
                ('description', models.TextField(blank=True, max_length=5000)),
                ('is_active', models.BooleanField(db_default=True, default=True)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                ('min_price', models.BigIntegerField(editable=False, null=True)),
                ('max_price', models.BigIntegerField(editable=False, null=True)),
                ('document', models.GeneratedField(db_persist=True, expression=django.contrib.postgres.search.CombinedSearchVector(django.contrib.postgres.search.SearchVector('name', config='english', weight='A'), '||', django.contrib.postgres.search.SearchVector('description', config='english', weight='B'), django.contrib.postgres.search.SearchConfig('english')), output_field=django.contrib.postgres.search.SearchVectorField())),
                ('category', models.ForeignKey(db_column='category', db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='products', to='inventory.category', to_field='slug')),
            ],
        ),
        migrations.CreateModel(
            name='Reservation',
            fields=[
                ('order_id', models.UUIDField(primary_key=True, serialize=False)),
                ('status', models.CharField(choices=[('held', 'Held'), ('refused', 'Refused'), ('released', 'Released'), ('committed', 'Committed'), ('restocked', 'Restocked')], max_length=10)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('due_at', models.DateTimeField(blank=True, help_text='When the hold is over.', null=True)),
                ('announce_at', models.DateTimeField(blank=True, help_text='When orders is told next that it is over.', null=True)),
                ('refused_sku', models.CharField(blank=True, db_default='', max_length=64)),
                ('refused_available', models.BigIntegerField(blank=True, null=True)),
                ('sequence', models.BigIntegerField(default=1)),
            ],
            options={
                'indexes': [models.Index(condition=models.Q(('status', 'held')), fields=['announce_at'], name='reservation_due')],
                'constraints': [models.CheckConstraint(condition=models.Q(('status__in', ['held', 'refused', 'released', 'committed', 'restocked'])), name='reservation_status_known'), models.CheckConstraint(condition=models.Q(models.Q(('refused_available__isnull', False), ('status', 'refused')), models.Q(models.Q(('status', 'refused'), _negated=True), ('refused_available__isnull', True)), _connector='OR'), name='refusal_has_its_facts')],
            },
        ),
        migrations.CreateModel(
            name='ReservationLine',
            fields=[
                ('pk', models.CompositePrimaryKey('reservation_id', 'sku', blank=True, editable=False, primary_key=True, serialize=False)),
                ('sku', models.CharField(max_length=64)),
                ('quantity', models.BigIntegerField()),
                ('reservation', models.ForeignKey(db_column='order_id', db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='lines', to='inventory.reservation')),
            ],
        ),
        migrations.CreateModel(
            name='Stock',
            fields=[
                ('variant', models.OneToOneField(db_column='sku', on_delete=django.db.models.deletion.PROTECT, primary_key=True, related_name='stock', serialize=False, to='inventory.variant', verbose_name='SKU')),
                ('on_hand', models.BigIntegerField(db_default=0, default=0)),
                ('reserved', models.BigIntegerField(db_default=0, default=0)),
                ('initial', models.BigIntegerField(db_default=0, default=0)),
                ('sequence', models.BigIntegerField(db_default=0, default=0)),
            ],
            options={
                'verbose_name_plural': 'stock',
            },
        ),
        migrations.AddField(
            model_name='variant',
            name='product',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='variants', to='inventory.product'),
        ),
        migrations.CreateModel(
            name='StockMovement',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('sku', models.CharField(max_length=64, verbose_name='SKU')),
                ('kind', models.CharField(choices=[('receipt', 'Receipt'), ('adjustment', 'Adjustment'), ('sale', 'Sale'), ('restock', 'Restock')], max_length=10)),
                ('quantity', models.BigIntegerField(help_text='Signed: negative where units left the shelf.')),
                ('order_id', models.UUIDField(blank=True, null=True)),
                ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('actor', models.CharField(help_text='A member of staff, or the context that asked for it.', max_length=254)),
                ('note', models.CharField(blank=True, help_text='The reference of a receipt, the reason otherwise.', max_length=200)),
            ],
            options={
                'indexes': [models.Index(fields=['sku', 'id'], name='movements_of_sku')],
                'constraints': [models.CheckConstraint(condition=models.Q(('quantity', 0), _negated=True), name='movement_moves')],
            },
        ),
        migrations.AddIndex(
            model_name='product',
            index=django.contrib.postgres.indexes.GinIndex(fields=['document'], name='product_document'),
        ),
        migrations.AddIndex(
            model_name='product',
            index=models.Index(fields=['category', 'name', 'id'], name='product_by_category'),
        ),
        migrations.AddIndex(
            model_name='product',
            index=models.Index(fields=['name', 'id'], name='product_by_name'),
        ),
        migrations.AddIndex(
            model_name='product',
            index=models.Index(fields=['min_price', 'id'], name='product_by_price'),
        ),
        migrations.AddConstraint(
            model_name='reservationline',
            constraint=models.CheckConstraint(condition=models.Q(('quantity__gt', 0)), name='line_has_units'),
        ),
        migrations.AddConstraint(
            model_name='stock',
            constraint=models.CheckConstraint(condition=models.Q(('reserved__gte', 0), ('reserved__lte', models.F('on_hand'))), name='reserved_within_on_hand'),
        ),
        migrations.AddConstraint(
            model_name='variant',
            constraint=models.CheckConstraint(condition=models.Q(('price__gte', 0), ('price__lte', 1000000000000)), name='variant_price_in_range'),
        ),
        migrations.AddConstraint(
            model_name='variant',
            constraint=models.CheckConstraint(condition=models.Q(('currency__regex', '^[A-Z]{3}$')), name='variant_currency_is_iso_4217'),
        ),
    ]
