"""The admin of inventory: permissions, changes through the service, audit trail."""

from uuid import uuid4

import pytest

from shop.db.database import fetch_rows
from tests.admin_forms import open_submission
from tests.factories import create_product, create_sku, reserve_units
from tests.inventory.queries import assert_stock_adds_up, movements, stock_of
from tests.inventory.staff_clients import ACTOR
from tests.staff_accounts import sign_in_to_admin

TABLES = ("category", "product", "variant", "stock", "stockmovement", "reservation")


@pytest.fixture
def admin():
    return sign_in_to_admin("inventory.change")


def page(table, *rest):
    return "/".join(("/admin/inventory", table, *(str(part) for part in rest), ""))


def post(client, path, **form):
    response = client.post(path, open_submission(client, path) | form, follow=True)
    assert response.status_code == 200
    return response.content.decode()


def product_of(sku):
    [(pk, slug)] = fetch_rows(
        "inventory",
        "SELECT id, slug FROM inventory_product WHERE id = (SELECT product_id FROM inventory_variant WHERE sku = %s)",
        [sku],
    )
    return pk, slug


def actions_on(kind, pk):
    sql = "SELECT actor, action FROM shop_auditentry WHERE object_type = %s AND object_id = %s ORDER BY id"
    return fetch_rows("inventory", sql, [kind, str(pk)])


@pytest.mark.parametrize("query", ["", "?q=mug", "?o=1", "?o=-3"])
@pytest.mark.parametrize("table", TABLES)
def test_every_list_can_be_searched_and_sorted(admin, table, query):
    reserve_units((create_sku(3), 1))
    assert admin.get(page(table) + query).status_code == 200


@pytest.mark.parametrize(
    "query",
    [
        "product/?is_active__exact=1",
        "stock/?availability=available",
        "stock/?availability=sold_out",
        "stock/?availability=reserved",
        "reservation/?status__exact=held",
        "stockmovement/?kind__exact=sale",
    ],
)
def test_lists_can_be_filtered(admin, query):
    assert admin.get(f"/admin/inventory/{query}").status_code == 200


def test_every_object_has_a_page_and_a_history(admin):
    sku = create_sku(3)
    order_id = reserve_units((sku, 1)).order_id
    pk, _ = product_of(sku)
    for path in (("product", pk), ("variant", sku), ("stock", sku), ("reservation", order_id)):
        assert admin.get(page(*path, "change")).status_code == 200
        assert admin.get(page(*path, "history")).status_code == 200


@pytest.mark.parametrize("table", TABLES)
def test_staff_without_permission_cannot_see_inventory(table):
    assert sign_in_to_admin("orders.view").get(page(table)).status_code == 403


def test_view_permission_does_not_allow_stock_changes():
    sku = create_sku(5)
    sign_in_to_admin("inventory.view").post(page("stock", sku, "change"), {"quantity": "1", "reason": "theft"})
    assert stock_of(sku) == (5, 0)


def test_a_stock_correction_is_recorded_with_its_reason(admin):
    sku = create_sku(5)
    post(admin, page("stock", sku, "change"), quantity="-2", reason="broken")
    assert (stock_of(sku), movements(sku)) == ((3, 0), [("adjustment", -2)])
    assert actions_on("stock", sku) == [(ACTOR, "adjustment")]
    assert "broken" in admin.get(page("stock", sku, "history")).content.decode()


def test_a_correction_below_the_reserved_units_shows_an_error(admin):
    sku = create_sku(5)
    reserve_units((sku, 4))
    html = post(admin, page("stock", sku, "change"), quantity="-2", reason="broken")
    assert "4 of the 5 units" in html
    assert stock_of(sku) == (5, 4)


def test_a_price_change_updates_the_price_range_of_the_product_and_is_audited(admin):
    cheap, _ = create_product([1, 1], price=1000)
    post(admin, page("variant", cheap, "change"), name="Small", price="10.50", position="0", is_active="on")
    pk, _ = product_of(cheap)
    assert fetch_rows("inventory", "SELECT min_price, max_price FROM inventory_product WHERE id = %s", [pk]) == [
        (1050, 1100)
    ]
    assert actions_on("variant", cheap) == [(ACTOR, "edit variant")]
    detail = fetch_rows("inventory", "SELECT detail->'before' FROM shop_auditentry WHERE object_id = %s", [cheap])
    assert '"price": 1000' in detail[0][0]


@pytest.mark.parametrize("price", ["-1", "", "cheap", str(10**13), "6.999", "7,00", "EUR 7"])
def test_an_invalid_price_is_refused(admin, price):
    sku = create_sku(1, price=700)
    post(admin, page("variant", sku, "change"), name="Small", price=price, position="0", is_active="on")
    assert fetch_rows("inventory", "SELECT price FROM inventory_variant WHERE sku = %s", [sku]) == [(700,)]


def test_a_product_is_edited_and_taken_off_sale(admin):
    pk, slug = product_of(create_sku(1))
    other_category = f"category-{uuid4().hex}"
    create_product([1], category=other_category)
    post(
        admin, page("product", pk, "change"), name="Renamed", description="New", category=other_category, is_active="on"
    )
    post(admin, page("product"), action="take_off_sale", _selected_action=str(pk))
    rows = fetch_rows("inventory", "SELECT slug, name, category, is_active FROM inventory_product WHERE id = %s", [pk])
    assert rows == [(slug, "Renamed", other_category, False)]
    assert actions_on("product", pk) == [(ACTOR, "edit product")] * 2


def test_a_variant_of_an_added_product_can_be_reserved(admin):
    key = uuid4().hex
    post(admin, page("category", "add"), slug=f"category-{key}", name="New category", description="", position="7")
    post(
        admin,
        page("product", "add"),
        slug=f"product-{key}",
        name="New product",
        description="",
        category=f"category-{key}",
        is_active="on",
    )
    [(pk,)] = fetch_rows("inventory", "SELECT id FROM inventory_product WHERE slug = %s", [f"product-{key}"])
    sku = f"NEW-{key[:12]}"
    post(
        admin,
        page("variant", "add"),
        sku=sku,
        product=str(pk),
        name="One size",
        price="5.00",
        position="0",
        is_active="on",
    )
    post(admin, page("stock", sku, "change"), quantity="2", reason="first delivery")
    assert reserve_units((sku, 2)).status == "held"
    assert actions_on("product", pk) == [(ACTOR, "add product")]


def test_a_slug_that_is_taken_is_refused(admin):
    _, slug = product_of(create_sku(1))
    category = fetch_rows("inventory", "SELECT category FROM inventory_product WHERE slug = %s", [slug])[0][0]
    html = post(admin, page("product", "add"), slug=slug, name="Copy", description="", category=category)
    assert "already exists" in html


@pytest.mark.parametrize("table", ["stock", "stockmovement", "reservation"])
def test_stock_and_reservations_can_neither_be_added_nor_deleted(admin, table):
    assert admin.get(page(table, "add")).status_code == 403


def test_a_reservation_is_read_only(admin):
    sku = create_sku(2)
    order_id = reserve_units((sku, 1)).order_id
    html = admin.get(page("reservation", order_id, "change")).content.decode()
    assert f"1 × {sku}" in html
    assert 'name="status"' not in html


def test_stock_is_consistent_after_all_tests():
    assert_stock_adds_up()
