"""Store the price that a customer saw, and find the orders of a cart that are being undone."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False  # PostgreSQL builds an index concurrently only outside of a transaction

    dependencies = [("orders", "0002_plain_help_texts")]

    operations = [
        migrations.AddField(
            model_name="cartitem",
            name="seen_price",
            field=models.BigIntegerField(
                blank=True, help_text="Price, in minor units, when the customer set the quantity.", null=True
            ),
        ),
        AddIndexConcurrently(
            model_name="order",
            index=models.Index(
                condition=models.Q(("step__in", ["undo_money", "undo_stock"])),
                fields=["cart_id"],
                name="undone_order_of_cart",
            ),
        ),
    ]
