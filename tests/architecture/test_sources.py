"""Rules that a linter of imports cannot see, read off the sources; each with a planted violation."""

import pytest
from django.apps import apps
from django.conf import settings

from tests.architecture import sources

ROOT = settings.BASE_DIR
KERNEL_LINES = 2_900
FUNCTION_LINES = 50


def tables():
    """The tables of each context."""
    return {context: {m._meta.db_table for m in apps.get_app_config(context).get_models()} for context in settings.CONTEXTS}


def test_no_sql_or_template_names_a_table_of_another_context():
    assert sources.foreign_tables(ROOT, tables()) == []


@pytest.mark.parametrize(
    "line",
    ['SQL = "SELECT 1 FROM orders_order"', 'SQL = f"DELETE FROM orders_order WHERE {1}"', 'SQL = "JOIN \\"orders_order\\" o"'],
)
def test_a_planted_foreign_table_is_found(plant, line):
    found = sources.foreign_tables(plant("contexts.inventory.service", line), tables() | {"orders": {"orders_order"}})
    assert [one.rpartition(" ")[2] for one in found] == ["orders_order"]


def test_a_foreign_table_in_a_template_is_found(tree):
    (tree / "contexts" / "inventory" / "planted.html").write_text("{# orders_order #}")
    found = sources.foreign_tables(tree, tables() | {"orders": {"orders_order"}})
    assert found == ["contexts/inventory/planted.html:1 orders_order"]


def test_no_context_reaches_for_a_model_by_name():
    assert sources.tricks(ROOT) == []


@pytest.mark.parametrize(
    "line",
    ['django.apps.apps.get_model("orders", "Order")', "from django.contrib.contenttypes.models import ContentType",
     'import_module("contexts.orders.models")', '__import__("contexts.orders")'],
)  # fmt: skip
def test_a_planted_trick_is_found(plant, line):
    assert len(sources.tricks(plant("contexts.inventory.service", line))) == 1


def test_the_kernel_names_no_context():
    assert sources.contexts_named_in_the_kernel(ROOT, settings.ALL_CONTEXTS) == []


def test_a_planted_context_in_the_kernel_is_found(plant):
    assert len(sources.contexts_named_in_the_kernel(plant("shop.clock", 'x = "orders.confirmed"'), ("orders",))) == 1


def test_a_contexts_package_file_is_a_docstring():
    assert sources.code_in_package_files(ROOT) == []


@pytest.mark.parametrize("line", ["import os", "x = 1", "def f(): ..."])
def test_planted_code_in_a_package_file_is_found(plant, line):
    assert sources.code_in_package_files(plant("contexts.orders", line)) == ["contexts/orders/__init__.py"]


def test_every_context_has_the_same_files():
    assert sources.misshapen(ROOT) == []


def test_a_missing_and_an_extra_file_are_found(tree):
    (tree / "contexts" / "users" / "admin.py").rename(tree / "contexts" / "users" / "helpers.py")
    assert sources.misshapen(tree) == ["users has no admin", "users has helpers"]


def test_the_kernel_is_small():
    assert sources.lines(ROOT / "shop") <= KERNEL_LINES


def test_empty_lines_and_migrations_are_not_to_be_read(tmp_path):
    (tmp_path / "one.py").write_text('"""Doc."""\n\n# why\nx = 1\n\n')
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations" / "0001.py").write_text("x = 1\n")
    assert sources.lines(tmp_path) == 3


def test_no_function_is_long():
    assert sources.long_functions(ROOT, FUNCTION_LINES) == []


def test_a_planted_long_function_is_found(plant):
    body = "\n".join(["    x = 1"] * FUNCTION_LINES)
    found = sources.long_functions(plant("shop.clock", f"def endless():\n{body}"), FUNCTION_LINES)
    assert [one.split(" ", 1)[1] for one in found] == ["endless has 51 lines"]
