"""A change of stock raises no version: the units of an answer are read each time it is given."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("inventory", "0002_catalogue_version")]

    operations = [
        migrations.RunSQL(
            "DROP TRIGGER raise_version ON inventory_stock",
            """CREATE TRIGGER raise_version AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON inventory_stock
               FOR EACH STATEMENT EXECUTE FUNCTION inventory_raise_version()""",
        ),
    ]
