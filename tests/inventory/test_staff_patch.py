"""PATCH by staff: If-Match refuses a change of what was changed meanwhile; omitted fields keep their value."""

import json

import pytest

from shop.db.database import fetch_rows
from tests.factories import create_product
from tests.http_client import Client
from tests.inventory.staff_clients import ACTOR, authorization_header
from tests.shopper import InProcessShopper


def send(method, path, body=None, permissions=("inventory.view", "inventory.change"), **headers):
    content = {} if body is None else {"data": json.dumps(body), "content_type": "application/json"}
    given = authorization_header(*permissions) | headers
    return getattr(Client(), method)(f"/api/v1/staff/{path}", headers=given, **content)


@pytest.fixture
def product():
    """Return the slug of a product and the SKU of its variant."""
    [sku] = create_product([3], price=2000)
    sql = "SELECT slug FROM inventory_product p JOIN inventory_variant v ON v.product_id = p.id WHERE sku = %s"
    return fetch_rows("inventory", sql, [sku])[0][0], sku


def test_a_product_is_changed_with_the_etag_that_was_read(product):
    slug, _ = product
    read = send("get", f"products/{slug}")
    assert read.status_code == 200 and read.json()["is_active"] is True
    changed = send("patch", f"products/{slug}", {"name": "Jar"}, **{"If-Match": read["ETag"]})
    assert (changed.status_code, changed.json()["name"]) == (200, "Jar")
    assert changed["ETag"] not in (read["ETag"], "") and changed["ETag"] == send("get", f"products/{slug}")["ETag"]


def test_a_stale_etag_changes_nothing_and_names_who_was_first(product):
    _, sku = product
    path = f"variants/{sku}"
    stale = send("get", path)["ETag"]
    send("patch", path, {"price": {"amount": 2500, "currency": "EUR"}})
    refused = send(
        "patch", path, {"name": "Large", "price": {"amount": 2000, "currency": "EUR"}}, **{"If-Match": stale}
    )
    assert refused.status_code == 412
    assert (refused.json()["code"], refused.json()["facts"]["changed_by"]) == ("shop.precondition_failed", ACTOR)
    now = send("get", path).json()
    assert (now["price"]["amount"], now["name"]) == (2500, "Size 0")


@pytest.mark.parametrize(
    ("header", "status"),
    [('"0123"', 412), ("W/{etag}", 412), ("malformed", 412), ("*", 200), ('"0123", {etag}', 200), ("{etag}", 200)],
)
def test_if_match_compares_strong_tags(product, header, status):
    path = f"products/{product[0]}"
    etag = send("get", path)["ETag"]
    assert send("patch", path, {"name": "Jar"}, **{"If-Match": header.format(etag=etag)}).status_code == status


def test_a_changed_price_is_charged_and_its_currency_cannot_be_changed(product):
    _, sku = product
    refused = send("patch", f"variants/{sku}", {"price": {"amount": 100, "currency": "USD"}})
    assert (refused.status_code, refused.json()["code"]) == (409, "inventory.other_price_currency")
    assert send("patch", f"variants/{sku}", {"price": {"amount": 3100, "currency": "EUR"}}).status_code == 200
    assert InProcessShopper().order(sku).body["totals"]["total"]["amount"] == 3100


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"category": "no-such-category"}, 422),
        ({"slug": "another"}, 400),
        ({"name": ""}, 400),
        ({"is_active": None}, 400),
        ({}, 200),
    ],
)
def test_what_cannot_be_saved_is_refused(product, body, status):
    before = send("get", f"products/{product[0]}").json()
    assert send("patch", f"products/{product[0]}", body).status_code == status
    assert send("get", f"products/{product[0]}").json() == before


def test_an_unknown_object_is_not_found():
    for path in ("products/no-such-product", "variants/NO-SUCH-SKU"):
        assert send("get", path).status_code == 404
        assert send("patch", path, {"name": "Jar"}).status_code == 404
