"""The version of the catalogue. Triggers raise it in the transaction of each change."""

from django.db import migrations, models

SHARDS = 64
RAISE = f"""
INSERT INTO inventory_catalogueversion (shard) SELECT generate_series(0, {SHARDS - 1});
CREATE FUNCTION inventory_raise_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE inventory_catalogueversion SET version = version + 1 WHERE shard = pg_backend_pid() % {SHARDS};
    RETURN NULL;
END $$"""
TABLES = ("category", "product", "variant")  # not stock: available units are read at each request


class Migration(migrations.Migration):
    dependencies = [("inventory", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="CatalogueVersion",
            fields=[
                ("shard", models.SmallIntegerField(primary_key=True, serialize=False)),
                ("version", models.BigIntegerField(db_default=0, default=0)),
            ],
        ),
        migrations.RunSQL(RAISE, "DROP FUNCTION inventory_raise_version"),
        *(
            migrations.RunSQL(
                f"""CREATE TRIGGER raise_version AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON inventory_{table}
                    FOR EACH STATEMENT EXECUTE FUNCTION inventory_raise_version()""",
                f"DROP TRIGGER raise_version ON inventory_{table}",
            )
            for table in TABLES
        ),
    ]
