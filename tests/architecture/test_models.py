"""Models: no relation between contexts, every table in its own database only, no missing migration."""

import os
import subprocess
import sys

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib.contenttypes.fields import GenericForeignKey
from django.core.management import call_command
from django.db import models
from django.test.utils import isolate_apps

from shop.db.database import fetch_rows, hosted_contexts

OWN_APPS = {*settings.ALL_CONTEXTS, "shop"}


def foreign_relations(registry):
    """Return the relations from a model of this project to a model of another app, resolved or not."""
    found = []
    for model in registry.get_models(include_auto_created=True):
        for field in model._meta.get_fields(include_hidden=True):
            target = getattr(field, "related_model", None)
            if isinstance(field, GenericForeignKey):
                target = "contenttypes"
            if target is None or model._meta.app_label not in OWN_APPS or (field.auto_created and not field.concrete):
                continue  # no relation, a model of a library, or the reverse side of a relation
            label = target.split(".")[0] if isinstance(target, str) else target._meta.app_label
            if label != model._meta.app_label:
                found.append(f"{model._meta.label}.{field.name} -> {label}")
    return sorted(found)


def test_no_model_has_a_relation_to_a_model_of_another_app():
    assert foreign_relations(apps) == []


@pytest.mark.parametrize(
    "make",
    [
        lambda: models.ForeignKey("inventory.Planted", models.DO_NOTHING, db_constraint=False),
        lambda: models.OneToOneField("inventory.Planted", models.CASCADE),
        lambda: models.ManyToManyField("inventory.Planted"),
        lambda: models.ForeignKey("payments.NotThere", models.CASCADE),
    ],
)
@isolate_apps("contexts.orders", "contexts.inventory", attr_name="registry")
def test_a_planted_relation_is_found(make, registry=None):
    type("Planted", (models.Model,), {"__module__": "contexts.inventory.models", "Meta": label("inventory")})
    fields = {"__module__": "contexts.orders.models", "Meta": label("orders"), "planted": make()}
    model = type("Order", (models.Model,), fields)
    assert any(one.startswith("orders.Order.planted ->") for one in foreign_relations(model._meta.apps))


def label(name):
    return type("Meta", (), {"app_label": name})


def misplaced_tables():
    """Return the tables that are in a wrong database, or missing in their own."""
    found = []
    for alias in hosted_contexts():
        there = {name for (name,) in fetch_rows(alias, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}
        for model in apps.get_models(include_auto_created=True):
            app, table = model._meta.app_label, model._meta.db_table
            if (table in there) != (app in (alias, "shop", "contenttypes")):
                found.append(f"{table} in {alias}")
    return found


def test_every_table_is_in_the_database_of_its_context_alone():
    assert misplaced_tables() == []


def test_a_planted_table_in_a_foreign_database_is_found():
    fetch_rows("inventory", "CREATE TABLE users_user ()")
    try:
        assert misplaced_tables() == ["users_user in inventory"]
    finally:
        fetch_rows("inventory", "DROP TABLE users_user")


def test_no_migration_is_missing():
    call_command("makemigrations", check_changes=True, dry_run=True, verbosity=1)


def test_a_planted_model_without_a_migration_is_found(plant):
    line = "class Planted(models.Model):\n    def __str__(self): return ''"
    tree = plant("contexts.users.models", f"from django.db import models\n\n\n{line}")
    command = [sys.executable, "manage.py", "makemigrations", "--check", "--dry-run", "--skip-checks"]
    done = subprocess.run(command, cwd=tree, env=os.environ, capture_output=True, text=True, check=False)
    assert (done.returncode, "Planted" in done.stdout) == (1, True), done.stderr
