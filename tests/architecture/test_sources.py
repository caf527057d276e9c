"""Rules about source files that import-linter cannot check, each with a planted violation."""

import configparser
import re

import pytest
from django.apps import apps
from django.conf import settings

from tests.architecture import sources

ROOT = settings.BASE_DIR
MAX_KERNEL_LINES = 11_330
MAX_CONFIG_LINES = 1_000
MAX_FUNCTION_LINES = 45
MAX_MEDIAN_FUNCTION_LINES = 6
MAX_P95_FUNCTION_LINES = 20
INVARIANTS_IMPORTS = {"shop.invariants"}


def tables():
    """Return the tables of each context."""
    return {
        context: {m._meta.db_table for m in apps.get_app_config(context).get_models()} for context in settings.CONTEXTS
    }


def test_no_sql_or_template_names_a_table_of_another_context():
    assert sources.find_foreign_tables(ROOT, tables()) == []


@pytest.mark.parametrize(
    "line",
    [
        'SQL = "SELECT 1 FROM orders_order"',
        'SQL = f"DELETE FROM orders_order WHERE {1}"',
        'SQL = "JOIN \\"orders_order\\" o"',
    ],
)
def test_a_planted_foreign_table_is_found(plant, line):
    found = sources.find_foreign_tables(
        plant("contexts.inventory.service", line), tables() | {"orders": {"orders_order"}}
    )
    assert [one.rpartition(" ")[2] for one in found] == ["orders_order"]


def test_a_foreign_table_in_a_template_is_found(tree):
    (tree / "contexts" / "inventory" / "planted.html").write_text("{# orders_order #}")
    found = sources.find_foreign_tables(tree, tables() | {"orders": {"orders_order"}})
    assert found == ["contexts/inventory/planted.html:1 orders_order"]


def test_no_context_looks_up_models_by_name():
    assert sources.find_dynamic_lookups(ROOT) == []


@pytest.mark.parametrize(
    "line",
    ['django.apps.apps.get_model("orders", "Order")', "from django.contrib.contenttypes.models import ContentType",
     'import_module("contexts.orders.models")', '__import__("contexts.orders")'],
)  # fmt: skip
def test_a_planted_dynamic_lookup_is_found(plant, line):
    assert len(sources.find_dynamic_lookups(plant("contexts.inventory.service", line))) == 1


def test_the_kernel_names_no_context():
    assert sources.find_context_names_in_kernel(ROOT, settings.ALL_CONTEXTS) == []


def test_a_planted_context_in_the_kernel_is_found(plant):
    assert len(sources.find_context_names_in_kernel(plant("shop.clock", 'x = "orders.confirmed"'), ("orders",))) == 1


def test_a_contexts_package_file_is_a_docstring():
    assert sources.find_code_in_package_files(ROOT) == []


@pytest.mark.parametrize("line", ["import os", "x = 1", "def f(): ..."])
def test_planted_code_in_a_package_file_is_found(plant, line):
    assert sources.find_code_in_package_files(plant("contexts.orders", line)) == ["contexts/orders/__init__.py"]


def test_every_context_has_the_same_files():
    assert sources.find_unexpected_files(ROOT) == []


def test_a_missing_and_an_extra_file_are_found(tree):
    (tree / "contexts" / "users" / "admin.py").rename(tree / "contexts" / "users" / "helpers.py")
    assert sources.find_unexpected_files(tree) == ["users has no admin", "users has helpers"]


def test_the_verifier_lists_no_contexts():
    assert sources.find_lists_of_contexts(ROOT, settings.ALL_CONTEXTS) == []


@pytest.mark.parametrize("line", ["ALL = {}", "ALL = dict.fromkeys({}, 1)", "ALL = {{name: 1 for name in {}}}"])
def test_a_planted_list_of_contexts_is_found(plant, line):
    tree = plant("ops.verify.registry", line.format(settings.ALL_CONTEXTS))
    assert len(sources.find_lists_of_contexts(tree, settings.ALL_CONTEXTS)) == 1


def test_the_types_of_invariants_import_only_the_standard_library():
    assert sources.find_imports_besides(ROOT / "shop" / "invariants.py", set()) == []


@pytest.mark.parametrize("context", settings.ALL_CONTEXTS)
def test_declarations_of_invariants_import_only_their_types(context):
    file = ROOT / "contexts" / context / "invariants.py"
    assert sources.find_imports_besides(file, INVARIANTS_IMPORTS) == []


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("from shop.errors import Conflict", ["shop.errors"]),
        ("import msgspec.json", ["msgspec.json"]),
        ("from . import models", ["."]),
        ("from shop.invariants import Extract", []),
    ],
)
def test_a_planted_import_in_a_declaration_is_found(plant, line, expected):
    file = plant("contexts.orders.invariants", line) / "contexts" / "orders" / "invariants.py"
    assert sources.find_imports_besides(file, INVARIANTS_IMPORTS) == expected


def test_every_tool_checks_the_same_packages():
    linter = configparser.ConfigParser()
    linter.read(ROOT / ".importlinter")
    makefile = re.search(r"^PACKAGES := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert sorted(linter["importlinter"]["root_packages"].split()) == list(sources.PACKAGES)
    assert sorted(makefile[1].split()) == list(sources.PACKAGES)


def test_the_kernel_is_small():
    assert sources.count_lines(ROOT / "shop") <= MAX_KERNEL_LINES


def test_the_composition_root_is_small():
    assert sources.count_lines(ROOT / "config") <= MAX_CONFIG_LINES


def test_empty_lines_and_migrations_are_not_counted(tmp_path):
    (tmp_path / "one.py").write_text('"""Doc."""\n\n# why\nx = 1\n\n')
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations" / "0001.py").write_text("x = 1\n")
    assert sources.count_lines(tmp_path) == 3


def plant_functions(root, *lengths):
    """Write a module with functions of these numbers of lines."""
    body = "".join(f"def f{i}():\n" + "    x = 1\n" * (length - 1) for i, length in enumerate(lengths))
    (root / "shop").mkdir()
    (root / "shop" / "planted.py").write_text(body)


def test_no_function_is_long():
    found = sources.find_long_functions(ROOT, MAX_FUNCTION_LINES)
    assert found == []


def test_a_planted_long_function_is_found(tmp_path):
    plant_functions(tmp_path, MAX_FUNCTION_LINES, MAX_FUNCTION_LINES + 1)
    [found] = sources.find_long_functions(tmp_path, MAX_FUNCTION_LINES)
    assert found.endswith(" f1 has 46 lines")


def test_a_docstring_is_not_counted(tmp_path):
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "planted.py").write_text('def f():\n    """One.\n\n    Two.\n    """\n    return 1\n')
    assert [one.lines for one in sources.functions(tmp_path)] == [2]


def test_functions_are_short():
    median, p95 = sources.measure_functions(ROOT)
    assert median <= MAX_MEDIAN_FUNCTION_LINES
    assert p95 <= MAX_P95_FUNCTION_LINES


def test_median_and_percentile_are_measured(tmp_path):
    plant_functions(tmp_path, *range(2, 102))
    assert sources.measure_functions(tmp_path) == (52, 97)
