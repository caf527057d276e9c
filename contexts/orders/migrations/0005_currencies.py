"""The currency of a cart and of an order's line. Existing rows have none: a default in the database rewrites no table."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("orders", "0004_order_payment")]

    operations = [
        migrations.AddField(
            model_name="cart",
            name="currency",
            field=models.CharField(
                blank=True,
                db_default="",
                help_text="Fixed when the cart is made. Empty for a cart of an older release until it is changed.",
                max_length=3,
            ),
        ),
        migrations.AddField(
            model_name="orderline",
            name="currency",
            field=models.CharField(
                blank=True, db_default="", help_text="Of the offer. Empty for a line of an older release.", max_length=3
            ),
        ),
    ]
