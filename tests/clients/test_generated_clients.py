"""Linters find no error in the document, and generated clients compile and go the whole way of a customer.

`make test-clients` runs this: it needs node, npm, and the registries of npm and PyPI for the first run.
"""

from contextlib import closing

import pytest
from django.core.management import call_command

from tests.clients.workspace import TOOLS, Workspace, install_tools
from tests.journeys.running_shop import RunningShop

COMPLETE = "the journey is complete\n"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, django_db_setup):
    """Start a seeded shop, and prepare a folder for its clients."""
    install_tools()
    call_command("seed_catalogue", verbosity=0)
    with closing(RunningShop()) as shop:
        yield Workspace(tmp_path_factory.mktemp("clients"), shop.site)


@pytest.fixture(scope="module")
def generated(workspace):
    """Generate the TypeScript clients, and compile them with the journeys."""
    workspace.node("openapi-typescript", "openapi.json", "--output", "generated/openapi-fetch/schema.ts")
    workspace.node("openapi-ts", "--input", "openapi.json", "--output", "generated/hey-api", "--no-log-file")
    workspace.node("orval", "--config", "orval.config.mjs")
    workspace.node("tsc", "--noEmit")
    for journey in ("openapi_fetch", "hey_api", "orval"):
        workspace.node(
            "esbuild", f"journeys/{journey}.ts", "--bundle", "--platform=node", "--format=esm",
            f"--outfile=build/{journey}.mjs",
        )  # fmt: skip
    return workspace


def test_redocly_finds_no_error(workspace):
    workspace.node("redocly", "lint", "openapi.json", "--config", "redocly.yaml")


def test_spectral_finds_no_error(workspace):
    workspace.node("spectral", "lint", "openapi.json", "--ruleset", ".spectral.yaml", "--fail-severity", "error")


def test_control_linters_find_a_planted_error(workspace):
    document = (workspace.folder / "openapi.json").read_text()
    (workspace.folder / "broken.json").write_text(document.replace('"order_list_post"', '"order_list_get"'))
    for lint in (
        ("redocly", "lint", "broken.json"),
        ("spectral", "lint", "broken.json", "--ruleset", ".spectral.yaml"),
    ):
        with pytest.raises(AssertionError, match="operation"):
            workspace.node(*lint)


@pytest.mark.parametrize("journey", ["openapi_fetch", "hey_api", "orval"])
def test_a_client_of_typescript_orders_as_customer_and_as_guest(generated, journey):
    assert generated.run_journey("node", f"build/{journey}.mjs") == COMPLETE


def test_a_client_of_python_orders_as_customer_and_as_guest(workspace):
    workspace.python(
        "openapi-python-client", "generate", "--path", "openapi.json", "--meta", "none",
        "--output-path", "generated/shop_client", "--overwrite", "--fail-on-warning",
    )  # fmt: skip
    python = str(TOOLS / "python" / "bin" / "python")
    assert workspace.run_journey(python, "journeys/openapi_python_client.py") == COMPLETE
