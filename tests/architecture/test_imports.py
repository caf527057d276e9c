"""The contracts of .importlinter hold, and each has a planted violation that breaks it and no other."""

import configparser
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

LAYERS = "Operations import config, config imports contexts, contexts import the kernel"
CONTEXT_MAP = "Calls follow the context map"
INTERFACE = "Contexts import only the interface and events of each other"
CONTEXT_LAYERS = "Every context has the same layers"
PURE = "A public interface imports no Django, not even indirectly"
CHECKOUT = "The checkout runs steps, which end or save an order"
TABLES = "Only service, checkout, admin and migrations use tables"
CONTEXT_SETTINGS = "Only the composition root imports the settings of a context"
KERNEL_TABLES = "Only the kernel uses the kernel's tables"
INIT = "The package file of a context imports nothing"
KERNEL_LAYERS = "The packages of the kernel are layers"
ACYCLIC = "The kernel has no cycles"
VERIFIER = "The verifier shares no code with what it verifies"
INVARIANTS = "Declarations of invariants import only their types"
INVARIANTS_UNUSED = "No code uses the declarations of invariants"


def find_broken_contracts(folder):
    """Run lint-imports in a folder; return the names of the broken contracts."""
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [program, "--no-cache"],
        cwd=folder,
        env={**os.environ, "COLUMNS": "250", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Contracts:" in done.stdout, done.stdout + done.stderr
    return set(re.findall(r"^(.+) BROKEN", done.stdout, re.MULTILINE))


def test_every_contract_holds():
    assert find_broken_contracts(settings.BASE_DIR) == set()


PLANTED = [
    (LAYERS, "shop.messaging.engine", "from contexts.orders import interface"),
    (LAYERS, "shop.messaging.engine", "import config.settings"),
    (LAYERS, "contexts.orders.handlers", "import config.settings"),
    (LAYERS, "config.urls", "import ops.launch.serve"),
    (LAYERS, "shop.messaging.engine", "import ops.launch.serve"),
    (CONTEXT_MAP, "contexts.inventory.service", "import contexts.orders.interface"),
    (CONTEXT_MAP, "contexts.inventory.service", "import contexts.payments.interface"),
    (CONTEXT_MAP, "contexts.orders.service", "import contexts.notifications.interface"),
    (INTERFACE, "contexts.orders.service", "import contexts.inventory.models"),
    (INTERFACE, "contexts.orders.rest", "import contexts.inventory.service"),
    (INTERFACE, "contexts.orders.models", "import contexts.inventory.interface"),
    (INTERFACE, "contexts.orders.interface", "import contexts.inventory.interface"),
    (INTERFACE, "contexts.orders.service", "import contexts.inventory.events"),
    (CONTEXT_LAYERS, "contexts.inventory.models", "import contexts.inventory.service"),
    (CONTEXT_LAYERS, "contexts.inventory.service", "import contexts.inventory.rest"),
    (CONTEXT_LAYERS, "contexts.inventory.rest", "import contexts.inventory.admin"),
    (CONTEXT_LAYERS, "contexts.inventory.settings", "import contexts.inventory.service"),
    (CONTEXT_LAYERS, "contexts.inventory.utils", "import datetime"),
    (CHECKOUT, "contexts.orders.checkout.persistence", "import contexts.orders.checkout.runner"),
    (PURE, "contexts.orders.interface", "import django.db"),
    (PURE, "contexts.orders.events", "import shop.db.database"),
    (PURE, "contexts.users.interface", "import rest_framework.views"),
    (TABLES, "contexts.inventory.rest", "import contexts.inventory.models"),
    (TABLES, "contexts.inventory.handlers", "import contexts.inventory.models"),
    (CONTEXT_SETTINGS, "contexts.orders.service", "import contexts.orders.settings"),
    (CONTEXT_SETTINGS, "contexts.orders.apps", "import contexts.orders.settings"),
    (KERNEL_TABLES, "contexts.orders.service", "import shop.models"),
    (INIT, "contexts.orders", "import shop.clock"),
    (INIT, "contexts.orders", "import django"),
    (INIT, "contexts.orders", "import contexts.orders.interface"),
    (KERNEL_LAYERS, "shop.errors", "import shop.money"),
    (KERNEL_LAYERS, "shop.settings", "import shop.db.database"),
    (KERNEL_LAYERS, "shop.http.rest", "import shop.contexts"),
    (KERNEL_LAYERS, "shop.chaos", "import shop.decoders"),
    (ACYCLIC, "shop.messaging.inbox", "import shop.messaging.engine"),
    (VERIFIER, "ops.verify.checker", "import shop.db.database"),
    (VERIFIER, "ops.verify.registry", "import contexts.orders.interface"),
    (VERIFIER, "ops.verify.events", "import config.admin_site"),
    (INVARIANTS, "contexts.orders.invariants", "import shop.db.database"),
    (INVARIANTS, "contexts.orders.invariants", "import django.db"),
    (INVARIANTS_UNUSED, "contexts.orders.service", "import contexts.orders.invariants"),
    (KERNEL_LAYERS, "shop.invariants", "import shop.clock"),
]


@pytest.mark.parametrize(("contract", "module", "line"), PLANTED, ids=[f"{m}: {line}" for _, m, line in PLANTED])
def test_a_planted_import_breaks_exactly_its_contract(plant, contract, module, line):
    assert find_broken_contracts(plant(module, line)) == {contract}


def test_a_context_that_is_not_on_the_context_map_breaks_it(plant):
    for role in ("interface", "events"):
        tree = plant(f"contexts.shipping.{role}", "")
    (tree / "contexts" / "shipping" / "__init__.py").write_text('"""Shipping."""\n')
    assert find_broken_contracts(tree) == {CONTEXT_MAP}


def test_a_handler_may_import_events_of_any_context(plant):
    assert find_broken_contracts(plant("contexts.inventory.handlers", "import contexts.notifications.events")) == set()


def test_every_contract_has_a_planted_violation():
    contracts = configparser.ConfigParser()
    contracts.read(settings.BASE_DIR / ".importlinter")
    names = {
        contracts[section]["name"] for section in contracts.sections() if section.startswith("importlinter:contract:")
    }
    assert names == {contract for contract, _, _ in PLANTED}
