"""A trigram index for the search of staff: by parts of e-mail address and name."""

from django.contrib.postgres.operations import TrigramExtension
from django.db import migrations

from shop.db.text_search import BuildTrigramIndex


class Migration(migrations.Migration):
    atomic = False  # CREATE INDEX CONCURRENTLY runs in no transaction
    dependencies = [("users", "0002_help_texts")]

    operations = [
        TrigramExtension(),
        BuildTrigramIndex("user_search", "users_user", "lower(email || ' ' || full_name)"),
    ]
