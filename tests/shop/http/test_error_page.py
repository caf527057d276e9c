"""The page of all errors."""

import re

import pytest
from django.test import Client

from shop.errors import list_error_classes
from shop.http.error_page import PRODUCT_PACKAGES, describe_error
from shop.http.field_errors import FIELD_ERROR_CODES
from tests.shop.http.test_faults import FAULTS


@pytest.fixture(scope="module")
def page() -> str:
    response = Client().get("/api/docs/errors")
    assert response.status_code == 200
    assert response["Content-Type"].startswith("text/html")
    return response.content.decode()


def product_errors():
    return [cls for cls in list_error_classes() if cls.__module__.split(".")[0] in PRODUCT_PACKAGES]


def test_every_error_has_an_entry_at_its_code(page):
    codes = [cls.code for cls in product_errors()]
    assert len(codes) > 45
    assert re.findall(r'<article id="([^"]+)">', page) == codes


def test_every_entry_has_a_meaning_and_a_remedy(page):
    for cls in product_errors():
        entry = describe_error(cls)
        assert entry["message"] and entry["remedy"].endswith((".", "?")), cls
        assert "{" not in entry["message"], cls
        assert str(entry["status"]) in page


def test_every_code_of_a_fault_is_explained(page):
    assert {code for _, faults in FAULTS.values() for _, code in faults} <= set(FIELD_ERROR_CODES)
    for code in FIELD_ERROR_CODES:
        assert f'id="fault-{code}"' in page


def test_the_type_of_a_problem_leads_to_its_entry(page, settings):
    problem = Client().get("/api/v1/orders").json()
    address, _, anchor = problem["type"].partition("#")
    assert address == f"{settings.SITE_URL}/api/docs/errors"
    assert f'<article id="{anchor}">' in page


def test_the_page_loads_nothing_from_other_hosts(page):
    assert "http://" not in page and "https://" not in page


@pytest.mark.parametrize("path", ["/", "/health", "/ready", "/api/docs/errors", "/api/docs/", "/api/openapi.json"])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_page_that_can_only_be_read_refuses_other_methods_with_a_problem(path, method):
    response = Client(enforce_csrf_checks=True).generic(method, path, b"{}", "application/json")
    assert (response.status_code, response.headers["Content-Type"]) == (405, "application/problem+json")
    assert response.json()["code"] == "shop.method_not_allowed"
    assert response.headers["Allow"].startswith("GET, HEAD")
