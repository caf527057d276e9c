"""The function that `shop.db.database.execute_or_abort` calls to abort a transaction."""

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
