"""A trigram index for the search of staff: by a part of the order number."""

from django.contrib.postgres.operations import TrigramExtension
from django.db import migrations

from shop.db.text_search import BuildTrigramIndex


class Migration(migrations.Migration):
    atomic = False  # CREATE INDEX CONCURRENTLY runs in no transaction
    dependencies = [("payments", "0005_order_number")]

    operations = [
        TrigramExtension(),
        BuildTrigramIndex("payment_order_number_search", "payments_payment", "lower(order_number)"),
    ]
