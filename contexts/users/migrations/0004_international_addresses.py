"""Spell the domains of accounts in Unicode: two spellings of one address are one account. They are few, and found by index."""

from django.db import migrations

from shop.addresses.email import normalize_address


def normalize_domains(apps, editor):
    users = apps.get_model("users", "User").objects.using(editor.connection.alias)
    for user in users.filter(email__contains="xn--").order_by("id"):
        email = normalize_address(user.email)
        if not users.filter(email=email).exists():  # where both exist, both stay, and sign in with their own spelling
            users.filter(id=user.id).update(email=email)


class Migration(migrations.Migration):
    dependencies = [("users", "0003_search_index")]

    operations = [migrations.RunPython(normalize_domains, migrations.RunPython.noop)]
