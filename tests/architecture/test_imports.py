"""The rules of .importlinter: kept by the shop, and each of them alive."""

import configparser
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

LAYERS = "config wires contexts; contexts stand on shop"
MAP = "Calls follow the context map"
FACE = "Contexts meet only at interface and events"
SHAPE = "Every context has the same shape"
PURE = "The public face knows no Django"
TABLES = "Only service, saga, admin and migrations touch tables"
KERNEL_TABLES = "The kernel's tables are the kernel's"
INIT = "A context package file is a docstring"
ACYCLIC = "The kernel has no cycles"
VERIFIER = "Who verifies the books shares no code with who writes them"


def broken(folder):
    """The names of the contracts that lint-imports finds broken in a folder."""
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [program, "--no-cache"],
        cwd=folder,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Contracts:" in done.stdout, done.stdout + done.stderr
    return set(re.findall(r"^(.+) BROKEN", done.stdout, re.MULTILINE))


def test_the_shop_keeps_every_rule():
    assert broken(settings.BASE_DIR) == set()


PLANTED = [
    (LAYERS, "shop.engine", "from contexts.orders import interface"),
    (LAYERS, "shop.engine", "import config.settings"),
    (LAYERS, "contexts.orders.handlers", "import config.settings"),
    (MAP, "contexts.inventory.service", "import contexts.orders.interface"),
    (MAP, "contexts.inventory.service", "import contexts.payments.interface"),
    (MAP, "contexts.orders.service", "import contexts.notifications.interface"),
    (FACE, "contexts.orders.service", "import contexts.inventory.models"),
    (FACE, "contexts.orders.rest", "import contexts.inventory.service"),
    (FACE, "contexts.orders.models", "import contexts.inventory.interface"),
    (FACE, "contexts.orders.interface", "import contexts.inventory.interface"),
    (FACE, "contexts.orders.service", "import contexts.inventory.events"),
    (SHAPE, "contexts.inventory.models", "import contexts.inventory.service"),
    (SHAPE, "contexts.inventory.service", "import contexts.inventory.rest"),
    (SHAPE, "contexts.inventory.rest", "import contexts.inventory.admin"),
    (SHAPE, "contexts.inventory.utils", "import datetime"),
    (PURE, "contexts.orders.interface", "import django.db"),
    (PURE, "contexts.orders.events", "import shop.database"),
    (PURE, "contexts.users.interface", "import rest_framework.views"),
    (TABLES, "contexts.inventory.rest", "import contexts.inventory.models"),
    (TABLES, "contexts.inventory.handlers", "import contexts.inventory.models"),
    (KERNEL_TABLES, "contexts.orders.service", "import shop.models"),
    (INIT, "contexts.orders", "import shop.clock"),
    (INIT, "contexts.orders", "import django"),
    (INIT, "contexts.orders", "import contexts.orders.interface"),
    (ACYCLIC, "shop.inbox", "import shop.engine"),
    (VERIFIER, "config.verify.checker", "import shop.database"),
    (VERIFIER, "config.verify.stock", "import contexts.orders.interface"),
    (VERIFIER, "config.verify.facts", "import config.admin"),
]


@pytest.mark.parametrize(("rule", "module", "line"), PLANTED, ids=[f"{m}: {line}" for _, m, line in PLANTED])
def test_a_planted_import_breaks_exactly_its_rule(plant, rule, module, line):
    assert broken(plant(module, line)) == {rule}


def test_a_context_that_is_not_on_the_map_breaks_the_map(plant):
    for role in ("interface", "events"):
        tree = plant(f"contexts.shipping.{role}", "")
    (tree / "contexts" / "shipping" / "__init__.py").write_text('"""Shipping."""\n')
    assert broken(tree) == {MAP}


def test_a_handler_may_hear_from_anywhere(plant):
    assert broken(plant("contexts.inventory.handlers", "import contexts.notifications.events")) == set()


def test_every_rule_has_its_planted_violation():
    rules = configparser.ConfigParser()
    rules.read(settings.BASE_DIR / ".importlinter")
    names = {rules[section]["name"] for section in rules.sections() if section.startswith("importlinter:contract:")}
    assert names == {rule for rule, _, _ in PLANTED}
