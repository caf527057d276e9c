"""Remove the tokens of guests' orders from stored responses: they are derived from the order's id when they are needed.

In batches, each in a transaction of its own, along the index of the keys' resources.
"""

from django.db import migrations

BATCH_ROWS = 1_000
NEXT_SQL = """
SELECT resource FROM shop_idempotencykey WHERE resource IS NOT NULL AND (%(after)s::uuid IS NULL OR resource > %(after)s)
ORDER BY resource LIMIT %(limit)s"""
REMOVE_SQL = """
UPDATE shop_idempotencykey
SET body = convert_to(regexp_replace(convert_from(body, 'UTF8'), '"token":"[0-9a-f]+"\\}$', '"token":null}'), 'UTF8')
WHERE resource = ANY(%s) AND status = 201 AND convert_from(body, 'UTF8') ~ '"token":"[0-9a-f]+"\\}$'"""


def remove_tokens(apps, editor):
    with editor.connection.cursor() as cursor:
        resources = [None]
        while resources:
            cursor.execute(NEXT_SQL, {"after": resources[-1], "limit": BATCH_ROWS})
            resources = [resource for (resource,) in cursor.fetchall()]
            cursor.execute(REMOVE_SQL, [resources])


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("orders", "0010_refused_order_retention"), ("shop", "0015_keys_of_deleted_resources")]

    operations = [migrations.RunPython(remove_tokens, migrations.RunPython.noop)]
