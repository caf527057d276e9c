"""Copy what staff search into a table of its own: each change of a payment wrote new entries to the trigram index."""

from django.db import migrations, models

from shop.db.text_search import BuildTrigramIndex, CopySearchText

former_index = BuildTrigramIndex("payment_order_number_search", "payments_payment", "lower(order_number)")


class Migration(migrations.Migration):
    atomic = False  # CREATE INDEX CONCURRENTLY runs in no transaction
    dependencies = [("payments", "0011_plain_help_texts")]

    operations = [
        migrations.CreateModel(
            name="PaymentSearchText",
            fields=[("id", models.UUIDField(primary_key=True, serialize=False)), ("text", models.TextField())],
            options={"db_table": "payments_payment_search"},
        ),
        CopySearchText("payments_payment", "payments_payment_search", "lower(order_number)", "order_number"),
        BuildTrigramIndex("payment_text_search", "payments_payment_search", "text"),
        migrations.RunSQL(former_index.reverse_sql, former_index.sql),
    ]
