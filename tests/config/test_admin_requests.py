"""Requests to the admin that none of its pages makes: each is answered clearly, and GET changes nothing."""

import pytest
from django.contrib import admin

from shop.admin.context_admin import ContextAdmin
from shop.db.database import fetch_rows
from tests.staff_accounts import sign_in_to_admin

ACTIONS = sorted(
    (f"/admin/{table._meta.app_label}/{table._meta.model_name}/", action.__name__)
    for table, one in admin.site._registry.items()
    if isinstance(one, ContextAdmin)
    for action in one.actions
)


@pytest.fixture
def client():
    return sign_in_to_admin("*")


def count_jobs(path):
    return fetch_rows(path.split("/")[2], "SELECT count(*) FROM shop_batchjob")


@pytest.mark.parametrize(("path", "action"), ACTIONS)
def test_an_action_on_what_cannot_exist_does_nothing(client, path, action):
    jobs = count_jobs(path)
    for key in ("x", "\0", "1" * 400):
        page = client.post(path, {"action": action, "_selected_action": [key]})
        assert page.status_code == 400
    assert count_jobs(path) == jobs


def test_a_product_that_cannot_exist_is_refused_by_the_form_of_a_variant(client):
    path = "/admin/inventory/variant/add/"
    assert client.get(path, {"product": "x"}).status_code == 200
    form = {"sku": "A-1", "price": "5.00", "name": "One", "position": "0"}
    page = client.post(path, {**form, "product": "x"})
    assert page.status_code == 200 and "valid" in page.content.decode()
    assert client.post(path, {**form, "product": "\0"}).status_code == 400


def test_the_admin_has_no_page_that_redirects_to_any_object(client):
    assert client.get("/admin/r/1/1/").status_code == 404
