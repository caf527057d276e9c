"""Each example of a request in the OpenAPI document succeeds on the seeded shop."""

import re

import pytest
from django.core.management import call_command

from ops.topology import openapi
from tests.fuzz.matrix import MATRIX, create_callers
from tests.shopper import InProcessShopper

PREFIX = "/api/v1/"
# An example cannot know these: they are secrets that the shop has given to this caller.
OWN_SECRETS = {"auth/token/refresh": ("refresh",), "auth/logout": ("refresh",)}


def list_examples():
    """Return the example of each request body by its operation, in the form of the access matrix."""
    paths = openapi.build_document()["paths"]
    return {
        f"{method.upper()} {path.removeprefix(PREFIX)}": content["example"]
        for path, methods in paths.items()
        for method, operation in methods.items()
        for content in operation.get("requestBody", {}).get("content", {}).values()
    }


EXAMPLES = list_examples()
ENTRIES = {re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", route): entry for route, entry in MATRIX.items()}


@pytest.fixture(scope="module", autouse=True)
def _seeded_shop(django_db_setup):
    call_command("seed_catalogue", verbosity=0)


@pytest.fixture(scope="module")
def account(_seeded_shop):
    """Create the account of the examples."""
    created = InProcessShopper().post("auth/register", EXAMPLES["POST auth/register"])
    assert created.status == 201, created.body


def test_every_request_with_a_body_has_an_example():
    assert len(EXAMPLES) > 9
    assert EXAMPLES.keys() <= ENTRIES.keys()


@pytest.mark.parametrize("operation", [name for name in EXAMPLES if name != "POST auth/register"])
def test_the_example_of_a_request_succeeds(account, operation):
    entry = ENTRIES[operation]
    callers = create_callers(entry.permission)
    request = entry.build_request(callers["owner"])
    secrets = {name: request.body[name] for name in OWN_SECRETS.get(request.path, ())}
    method = operation.split(" ")[0]
    caller = callers[entry.allowed_role]
    answer = caller.send(method, request.path, EXAMPLES[operation] | secrets, **request.headers)
    assert answer.status < 300, (operation, EXAMPLES[operation], answer.body)


def test_the_examples_of_paths_exist_in_the_seeded_shop(settings):
    guest, examples = InProcessShopper(), settings.API_EXAMPLES
    product = guest.get(f"products/{examples['slug']}")
    assert product.status == 200
    assert examples["sku"] in [variant["sku"] for variant in product.body["variants"]]
    assert guest.get(f"products?category={examples['category']}").body["results"]
    cart = guest.post("carts").body["id"]
    assert guest.send("PUT", f"carts/{cart}/items/{examples['sku']}", {"quantity": 1}).status == 200
