"""Prices in the admin: entered as people write money, next to their currency; an unusual price has to be confirmed."""

import re

import pytest

from contexts.inventory.service import catalogue_editing
from shop.db.database import execute, fetch_rows
from tests.admin_forms import open_submission
from tests.factories import create_sku
from tests.staff_accounts import sign_in_to_admin

CONFIRMATION = re.compile(r'<input type="checkbox" name="confirm_amount" value="(\d+)"')


@pytest.fixture
def admin():
    return sign_in_to_admin("inventory.change")


@pytest.fixture
def sku():
    return create_sku(1, price=9800)


@pytest.fixture
def price_in(sku):
    """Return a function that sets the currency and the price of the SKU. Both are reset after the test."""

    def set_currency(currency, price):
        sql = "UPDATE inventory_variant SET currency = %s, price = %s WHERE sku = %s"
        execute("inventory", sql, [currency, price, sku])

    yield set_currency
    set_currency("EUR", 9800)


def page(sku):
    return f"/admin/inventory/variant/{sku}/change/"


def type_price(admin, sku, price, name="Mug", **fields):
    form = {"name": name, "price": price, "position": "0", "is_active": "on", **fields}
    return admin.post(page(sku), open_submission(admin, page(sku)) | form, follow=True).content.decode()


def read(sku):
    [(price, name)] = fetch_rows("inventory", "SELECT price, name FROM inventory_variant WHERE sku = %s", [sku])
    return price, name


def test_a_price_is_shown_and_typed_as_people_write_it(admin, sku):
    form = admin.get(page(sku)).content.decode()
    assert re.search(r'name="price" value="98.00"[^>]*> <span class="currency">EUR</span>', form)
    assert not CONFIRMATION.search(form)
    type_price(admin, sku, "99.50")
    assert read(sku) == (9950, "Mug")
    assert "99.50 EUR" in admin.get("/admin/inventory/variant/", {"q": sku}).content.decode()


@pytest.mark.parametrize(
    ("currency", "minor", "shown", "typed", "saved", "wrong"),
    [
        ("JPY", 98, "98", "99", 99, "99.00"),
        ("KWD", 98000, "98.000", "98.125", 98125, "98.1255"),
        ("EUR", 9800, "98.00", "98.5", 9850, "98.555"),
    ],
)
def test_a_price_has_the_decimals_of_its_currency(admin, sku, price_in, currency, minor, shown, typed, saved, wrong):
    price_in(currency, minor)
    assert f'value="{shown}"' in admin.get(page(sku)).content.decode()
    assert f"An amount in {currency} has" in type_price(admin, sku, wrong, name="Half saved")
    assert read(sku)[0] == minor
    assert read(sku)[1] != "Half saved"
    type_price(admin, sku, typed)
    assert read(sku)[0] == saved


@pytest.mark.parametrize("price", ["147.01", "48.99", "9800"])
def test_a_change_of_more_than_half_needs_a_tick(admin, sku, price):
    before = read(sku)
    html = type_price(admin, sku, price, name="Half saved")
    assert "Change it from 98.00 EUR to" in html
    assert read(sku) == before
    [confirmed] = CONFIRMATION.findall(html)
    type_price(admin, sku, price, name="Saved", confirm_amount=confirmed)
    assert read(sku) == (int(confirmed), "Saved")


@pytest.mark.parametrize("price", ["147.00", "49.00", "98.00"])
def test_a_change_up_to_half_needs_no_tick(admin, sku, price):
    assert not CONFIRMATION.search(type_price(admin, sku, price))
    assert read(sku) == (int(price.replace(".", "")), "Mug")


def test_a_tick_confirms_only_the_price_that_was_shown(admin, sku):
    [confirmed] = CONFIRMATION.findall(type_price(admin, sku, "9.80"))
    assert CONFIRMATION.findall(type_price(admin, sku, "980.00", confirm_amount=confirmed)) == ["98000"]
    assert read(sku)[0] == 9800


@pytest.mark.parametrize("confirmed", ["on", "true", "1", "98000", "9.80"])
def test_a_tick_that_names_another_amount_confirms_nothing(admin, sku, confirmed):
    assert CONFIRMATION.findall(type_price(admin, sku, "9.80", confirm_amount=confirmed)) == ["980"]
    assert read(sku)[0] == 9800


def test_a_price_of_zero_needs_a_tick(admin, sku):
    html = type_price(admin, sku, "0")
    assert "free of charge" in html
    assert read(sku)[0] == 9800
    assert CONFIRMATION.findall(html) == ["0"]
    type_price(admin, sku, "0.00", confirm_amount="0")
    assert read(sku)[0] == 0
    assert not CONFIRMATION.search(type_price(admin, sku, "0.00", name="Free"))


def test_a_new_variant_is_priced_in_the_currency_of_the_shop_and_needs_a_tick_to_be_free(admin, sku):
    [(product,)] = fetch_rows("inventory", "SELECT product_id::text FROM inventory_variant WHERE sku = %s", [sku])
    form = {"sku": f"{sku}-new", "product": product, "name": "New", "price": "0", "position": "1", "is_active": "on"}
    path = "/admin/inventory/variant/add/"
    assert '<span class="currency">EUR</span>' in admin.get(path).content.decode()
    html = admin.post(path, form, follow=True).content.decode()
    assert CONFIRMATION.findall(html) == ["0"]
    assert fetch_rows("inventory", "SELECT 1 FROM inventory_variant WHERE sku = %s", [form["sku"]]) == []
    admin.post(path, form | {"price": "98.00"}, follow=True)
    assert read(form["sku"]) == (9800, "New")


def test_staff_who_may_only_view_see_the_price_as_money(sku):
    html = sign_in_to_admin("inventory.view").get(page(sku))
    assert html.status_code == 200
    assert "98.00 EUR" in html.content.decode()


def test_a_product_shows_the_currency_of_its_prices(admin, sku, price_in):
    price_in("JPY", 98)
    [(name,)] = fetch_rows(
        "inventory",
        "UPDATE inventory_product SET name = %s, min_price = 98, max_price = 98 "
        "WHERE id = (SELECT product_id FROM inventory_variant WHERE sku = %s) RETURNING name",
        [f"Mug {sku}", sku],
    )
    assert "98 JPY" in admin.get("/admin/inventory/product/", {"q": name}).content.decode()


def test_a_product_has_variants_of_one_currency(admin, sku, price_in):
    price_in("GBP", 9800)
    [(product,)] = fetch_rows("inventory", "SELECT product_id::text FROM inventory_variant WHERE sku = %s", [sku])
    form = {"sku": f"{sku}-new", "product": product, "name": "New", "price": "98.00", "position": "1"}
    html = admin.post("/admin/inventory/variant/add/", form, follow=True).content.decode()
    assert "priced in GBP, and CURRENCY is EUR" in html
    assert fetch_rows("inventory", "SELECT 1 FROM inventory_variant WHERE sku = %s", [form["sku"]]) == []
    with pytest.raises(catalogue_editing.MixedCurrencies):
        catalogue_editing.create_variant(
            actor="staff@example.com", sku=form["sku"], product=catalogue_editing.Product(pk=product), price=1, name=""
        )
