"""Copy what staff search into a table of its own, and drop indexes that slow down each change of an order.

A change of an order writes new entries to all indexes of its table, of which the trigram index is by far the most expensive.
"""

import django.db.models.deletion
from django.db import migrations, models

from shop.db.text_search import BuildTrigramIndex, CopySearchText

ORDER_TEXT = """lower(number || ' ' || email || ' ' || coalesce(shipping_address ->> 'name', '') || ' ' ||
    coalesce(billing_address ->> 'name', ''))"""
former_index = BuildTrigramIndex("order_search", "orders_order", ORDER_TEXT)


class Migration(migrations.Migration):
    atomic = False  # CREATE INDEX CONCURRENTLY runs in no transaction
    dependencies = [("orders", "0012_unpaid_holds")]

    operations = [
        migrations.CreateModel(
            name="OrderSearchText",
            fields=[("id", models.UUIDField(primary_key=True, serialize=False)), ("text", models.TextField())],
            options={"db_table": "orders_order_search"},
        ),
        CopySearchText(
            "orders_order", "orders_order_search", ORDER_TEXT, "number, email, shipping_address, billing_address"
        ),
        BuildTrigramIndex("order_text_search", "orders_order_search", "text"),
        migrations.RunSQL(former_index.reverse_sql, former_index.sql),
        migrations.RunSQL(
            "DROP INDEX CONCURRENTLY IF EXISTS orders_order_number_abc9e0f2_like",  # of prefixes, which nothing looks for
            "CREATE INDEX CONCURRENTLY orders_order_number_abc9e0f2_like ON orders_order (number varchar_pattern_ops)",
        ),
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    "DROP INDEX CONCURRENTLY IF EXISTS orders_orderline_order_id_17f8f3ef",
                    "CREATE INDEX CONCURRENTLY orders_orderline_order_id_17f8f3ef ON orders_orderline (order_id)",
                )
            ],
            state_operations=[
                migrations.AlterField(
                    model_name="orderline",
                    name="order",
                    field=models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="lines",
                        to="orders.order",
                    ),
                )
            ],
        ),
    ]
