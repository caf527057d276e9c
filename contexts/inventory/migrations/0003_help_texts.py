"""New help texts. No SQL."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("inventory", "0002_catalogue_version")]

    operations = [
        migrations.AlterField(
            model_name="reservation",
            name="announce_at",
            field=models.DateTimeField(
                blank=True, help_text="When orders is notified next that the hold has expired.", null=True
            ),
        ),
        migrations.AlterField(
            model_name="reservation",
            name="due_at",
            field=models.DateTimeField(blank=True, help_text="When the hold expires.", null=True),
        ),
        migrations.AlterField(
            model_name="stockmovement",
            name="actor",
            field=models.CharField(help_text="Staff member, or the context that requested the change.", max_length=254),
        ),
        migrations.AlterField(
            model_name="stockmovement",
            name="note",
            field=models.CharField(
                blank=True, help_text="Delivery reference of a receipt; otherwise the reason.", max_length=200
            ),
        ),
        migrations.AlterField(
            model_name="stockmovement",
            name="quantity",
            field=models.BigIntegerField(help_text="Negative when units leave the stock."),
        ),
    ]
