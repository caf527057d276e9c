"""Trigram indexes for the search of staff: by parts of number, e-mail address, names and SKUs."""

from django.contrib.postgres.operations import TrigramExtension
from django.db import migrations

from shop.db.text_search import BuildTrigramIndex

ORDER_TEXT = """lower(number || ' ' || email || ' ' || coalesce(shipping_address ->> 'name', '') || ' ' ||
    coalesce(billing_address ->> 'name', ''))"""


class Migration(migrations.Migration):
    atomic = False  # CREATE INDEX CONCURRENTLY runs in no transaction
    dependencies = [("orders", "0006_longer_line_names")]

    operations = [
        TrigramExtension(),
        BuildTrigramIndex("order_search", "orders_order", ORDER_TEXT),
        BuildTrigramIndex("order_line_sku_search", "orders_orderline", "lower(sku)"),
    ]
