"""What `shop.database.require` calls in a transaction that must not be committed."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("shop", "0001_initial")]

    operations = [
        migrations.RunSQL(
            """CREATE FUNCTION shop_nothing_changed(what text) RETURNS void LANGUAGE plpgsql AS $$
               BEGIN RAISE EXCEPTION '%', what USING ERRCODE = 'NC001'; END $$""",
            "DROP FUNCTION shop_nothing_changed(text)",
        )
    ]
