"""Forms that were opened before another change: nothing is overwritten, and nothing is booked twice."""

from functools import partial

import pytest

from shop.db.database import fetch_rows
from tests.admin_forms import open_form, read_form, send_form
from tests.concurrency import run_concurrently
from tests.factories import create_product, create_sku
from tests.inventory.queries import movements, stock_of
from tests.inventory.staff_clients import ACTOR
from tests.staff_accounts import sign_in_to_admin


@pytest.fixture
def admin():
    return sign_in_to_admin("inventory.change")


def variant_page(sku):
    return f"/admin/inventory/variant/{sku}/change/"


def stock_page(sku):
    return f"/admin/inventory/stock/{sku}/change/"


def variant_row(sku):
    return fetch_rows("inventory", "SELECT name, position, is_active FROM inventory_variant WHERE sku = %s", [sku])[0]


def product_page(sku):
    sql = "SELECT product_id FROM inventory_variant WHERE sku = %s"
    return f"/admin/inventory/product/{fetch_rows('inventory', sql, [sku])[0][0]}/change/"


def product_row(sku):
    sql = """SELECT p.name, p.is_active FROM inventory_product p JOIN inventory_variant v ON v.product_id = p.id
             WHERE sku = %s"""
    return fetch_rows("inventory", sql, [sku])[0]


def test_a_stale_form_of_a_variant_saves_nothing_and_shows_who_changed_it(admin):
    sku = create_sku(1)
    stale = open_form(admin, variant_page(sku))
    send_form(admin, variant_page(sku), open_form(admin, variant_page(sku)), position="7")
    html = send_form(admin, variant_page(sku), stale, name="Renamed")
    assert f"Changed by {ACTOR}" in html and "Nothing was saved" in html
    assert "Your form had: Name: Renamed" in html
    assert 'name="position" value="7"' in html
    name, position, _ = variant_row(sku)
    assert (name != "Renamed", position) == (True, 7)


def test_a_stale_form_puts_no_product_on_sale_again(admin):
    sku = create_sku(1)
    stale = open_form(admin, product_page(sku))
    fresh = open_form(admin, product_page(sku))
    del fresh["is_active"]
    send_form(admin, product_page(sku), fresh)
    html = send_form(admin, product_page(sku), stale, name="Renamed")
    assert "Nothing was saved" in html
    assert product_row(sku)[0] != "Renamed" and product_row(sku)[1] is False


def test_the_form_shown_after_a_conflict_can_be_saved(admin):
    sku = create_sku(1)
    stale = open_form(admin, variant_page(sku))
    send_form(admin, variant_page(sku), open_form(admin, variant_page(sku)), position="7")
    send_form(admin, variant_page(sku), stale, name="Renamed")
    send_form(admin, variant_page(sku), open_form(admin, variant_page(sku)), name="Renamed")
    assert variant_row(sku)[:2] == ("Renamed", 7)


def test_a_form_with_errors_keeps_the_version_that_it_was_opened_with(admin):
    sku = create_sku(1)
    stale = open_form(admin, variant_page(sku))
    send_form(admin, variant_page(sku), open_form(admin, variant_page(sku)), position="7")
    corrected = read_form(admin.post(variant_page(sku), {**stale, "position": "many"}))
    html = send_form(admin, variant_page(sku), corrected, position="8")
    assert "Nothing was saved" in html
    assert variant_row(sku)[1] == 7


def test_a_price_change_of_a_variant_does_not_make_the_form_of_its_product_stale(admin):
    sku, _ = create_product([1, 1])
    stale = open_form(admin, product_page(sku))
    send_form(admin, variant_page(sku), open_form(admin, variant_page(sku)), position="9")
    send_form(admin, product_page(sku), stale, name="Renamed")
    assert product_row(sku)[0] == "Renamed"


def test_a_stock_correction_that_is_sent_twice_is_booked_once(admin):
    sku = create_sku(5)
    form = open_form(admin, stock_page(sku))
    send_form(admin, stock_page(sku), form, quantity="-2", reason="broken")
    html = send_form(admin, stock_page(sku), form, quantity="-2", reason="broken")
    assert "was already saved" in html
    assert (stock_of(sku), movements(sku)) == ((3, 0), [("adjustment", -2)])


def test_a_double_click_books_a_stock_correction_once(admin):
    sku = create_sku(5)
    form = open_form(admin, stock_page(sku)) | {"quantity": "-2", "reason": "broken"}
    clients = [sign_in_to_admin("inventory.change") for _ in range(4)]
    run_concurrently(*(partial(client.post, stock_page(sku), form) for client in clients))
    assert (stock_of(sku), movements(sku)) == ((3, 0), [("adjustment", -2)])


def test_a_refused_stock_correction_can_be_sent_again(admin):
    sku = create_sku(5)
    form = open_form(admin, stock_page(sku))
    send_form(admin, stock_page(sku), form, quantity="-9", reason="broken")
    send_form(admin, stock_page(sku), form, quantity="-2", reason="broken")
    assert stock_of(sku) == (3, 0)


def test_a_stock_form_that_was_opened_before_another_correction_books_nothing(admin):
    sku = create_sku(5)
    stale = open_form(admin, stock_page(sku))
    send_form(admin, stock_page(sku), open_form(admin, stock_page(sku)), quantity="1", reason="found")
    html = send_form(admin, stock_page(sku), stale, quantity="1", reason="found")
    assert f"Changed by {ACTOR}" in html and "Your form had: Quantity: 1; Reason: found" in html
    assert stock_of(sku) == (6, 0)


def test_a_form_that_adds_a_category_twice_adds_one(admin):
    form = open_form(admin, "/admin/inventory/category/add/")
    slug = create_sku(1).lower()
    for _ in range(2):
        html = send_form(admin, "/admin/inventory/category/add/", form, slug=slug, name="Twice", position="0")
    assert "was already saved" in html
