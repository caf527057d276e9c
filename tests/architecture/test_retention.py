"""Retention: every table declares how long its rows are kept, and old rows are found by an index."""

import pytest
from django.apps import apps
from django.conf import settings
from django.db import models
from django.test.utils import isolate_apps

from shop.db.database import execute, fetch_rows, hosted_contexts, transaction
from shop.db.retention import UNITS, DeletedAfter, DeletedWith, DeletedWithLast, Kept, get_retention, list_rules

OWN_APPS = {*settings.ALL_CONTEXTS, "shop"}
TABLES_WITHOUT_MODEL = {
    "django_migrations", "django_content_type",  # they grow with releases
    "payments_sandboxintent", "payments_sandboxrefund",  # kept: the ledger of the simulated provider, for trials
}  # fmt: skip
RULES = [(context, rule) for context in hosted_contexts() for rule in list_rules(context)]


def find_undeclared(registry):
    """Return the models that do not declare how long their rows are kept, or refer to a table that does not exist."""
    owned = [model for model in registry.get_models(include_auto_created=True) if model._meta.app_label in OWN_APPS]
    tables = {model._meta.db_table for model in owned}
    return sorted(model._meta.label for model in owned if not is_declared(model, tables))


def is_declared(model, tables):
    policies = get_retention(model)
    return bool(policies) and all(is_complete(model, policy, tables) for policy in policies)


def is_complete(model, policy, tables):
    columns = {field.column for field in model._meta.concrete_fields}
    if isinstance(policy, Kept):
        return policy.because.endswith(".")
    if isinstance(policy, DeletedWith):
        return policy.table in tables and policy.by in columns
    if isinstance(policy, DeletedWithLast):
        return policy.table in tables
    return isinstance(policy, DeletedAfter) and policy.since in columns


def test_every_model_declares_how_long_its_rows_are_kept():
    assert find_undeclared(apps) == []


@pytest.mark.parametrize(
    "retention",
    [None, Kept(because=""), DeletedWith("shop_nothing", by="id"), DeletedAfter(since="nothing", setting="X_DAYS")],
)
@isolate_apps("contexts.orders", attr_name="registry")
def test_a_model_without_retention_is_found(retention, registry=None):
    meta = type("Meta", (), {"app_label": "orders"})
    fields = {"__module__": "contexts.orders.models", "Meta": meta} | ({"retention": retention} if retention else {})
    model = type("Planted", (models.Model,), fields)
    assert find_undeclared(model._meta.apps) == ["orders.Planted"]


@pytest.mark.parametrize("context", hosted_contexts())
def test_every_table_of_a_database_belongs_to_a_model(context):
    tables = {table for [table] in fetch_rows(context, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}
    assert tables - TABLES_WITHOUT_MODEL - {model._meta.db_table for model in apps.get_models()} == set()


@pytest.mark.parametrize(("context", "rule"), RULES, ids=[f"{context} {rule.name}" for context, rule in RULES])
def test_old_rows_are_found_by_an_index_in_the_order_of_their_age(context, rule):
    """A batch reads the rows that it deletes, and neither sorts nor reads the whole table."""
    policy, table, key = rule.policy, rule.model._meta.db_table, rule.model._meta.pk.column
    page = f"SELECT {key} FROM {table} WHERE {key} > '' ORDER BY {key} LIMIT 1000"
    oldest = f"""SELECT {key} FROM {table} old WHERE {policy.since} < now() - interval '1 day'
                 AND {policy.since} >= '-infinity'::timestamptz AND ({policy.condition})
                 ORDER BY {policy.since} LIMIT 1000 FOR UPDATE OF old SKIP LOCKED"""
    with transaction(context):
        execute(context, "SET LOCAL enable_bitmapscan = off")  # which the planner prefers while a table is small
        plan = "\n".join(line for [line] in fetch_rows(context, f"EXPLAIN {oldest if policy.is_indexed else page}"))
    assert "Sort" not in plan and f"Seq Scan on {table}" not in plan, plan


@pytest.mark.parametrize(("context", "rule"), RULES, ids=[f"{context} {rule.name}" for context, rule in RULES])
def test_a_rule_has_a_documented_setting_or_a_fixed_period(context, rule):
    if rule.policy.setting:
        assert rule.policy.setting.rpartition("_")[2] in UNITS
        assert rule.policy.get_period().total_seconds() > 0
