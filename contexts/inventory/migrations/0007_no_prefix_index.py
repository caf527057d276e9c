"""Drop an index of the prefixes of SKUs, which nothing looks for in the stock: each sale wrote new entries to it."""

from django.db import migrations


class Migration(migrations.Migration):
    atomic = False  # DROP INDEX CONCURRENTLY runs in no transaction
    dependencies = [("inventory", "0006_plain_help_texts")]

    operations = [
        migrations.RunSQL(
            "DROP INDEX CONCURRENTLY IF EXISTS inventory_stock_sku_6adb288c_like",
            "CREATE INDEX CONCURRENTLY inventory_stock_sku_6adb288c_like ON inventory_stock (sku varchar_pattern_ops)",
        ),
    ]
