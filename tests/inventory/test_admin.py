"""The admin of inventory: pages for staff, writes through the service, an audit trail."""

from uuid import uuid4

import pytest

from shop.database import rows
from tests.inventory.books import assert_stock_adds_up, movements, stock_of
from tests.inventory.staff import ACTOR, admin_client
from tests.inventory.stock import product, reserved, stocked

TABLES = ("category", "product", "variant", "stock", "stockmovement", "reservation")


@pytest.fixture
def admin():
    return admin_client("inventory.view", "inventory.change")


def page(table, *rest):
    return "/".join(("/admin/inventory", table, *(str(part) for part in rest), ""))


def post(client, path, **form):
    answer = client.post(path, form, follow=True)
    assert answer.status_code == 200
    return answer.content.decode()


def product_of(sku):
    [(pk, slug)] = rows(
        "inventory",
        "SELECT id, slug FROM inventory_product WHERE id = (SELECT product_id FROM inventory_variant WHERE sku = %s)",
        [sku],
    )
    return pk, slug


def actions_on(kind, pk):
    sql = "SELECT actor, action FROM shop_auditentry WHERE object_type = %s AND object_id = %s ORDER BY id"
    return rows("inventory", sql, [kind, str(pk)])


@pytest.mark.parametrize("query", ["", "?q=mug", "?o=1", "?o=-3"])
@pytest.mark.parametrize("table", TABLES)
def test_every_list_can_be_searched_and_sorted(admin, table, query):
    reserved((stocked(3), 1))
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
    sku = stocked(3)
    order_id = reserved((sku, 1)).order_id
    pk, _ = product_of(sku)
    for path in (("product", pk), ("variant", sku), ("stock", sku), ("reservation", order_id)):
        assert admin.get(page(*path, "change")).status_code == 200
        assert admin.get(page(*path, "history")).status_code == 200


@pytest.mark.parametrize("table", TABLES)
def test_who_may_not_see_inventory_is_refused(table):
    assert admin_client("orders.view").get(page(table)).status_code == 403


def test_who_may_only_look_cannot_change_stock():
    sku = stocked(5)
    admin_client("inventory.view").post(page("stock", sku, "change"), {"quantity": "1", "reason": "theft"})
    assert stock_of(sku) == (5, 0)


def test_a_correction_of_stock_is_booked_with_its_reason(admin):
    sku = stocked(5)
    post(admin, page("stock", sku, "change"), quantity="-2", reason="broken")
    assert (stock_of(sku), movements(sku)) == ((3, 0), [("adjustment", -2)])
    assert actions_on("stock", sku) == [(ACTOR, "adjustment")]
    assert "broken" in admin.get(page("stock", sku, "history")).content.decode()


def test_a_correction_below_what_is_reserved_is_shown_as_an_error(admin):
    sku = stocked(5)
    reserved((sku, 4))
    shown = post(admin, page("stock", sku, "change"), quantity="-2", reason="broken")
    assert "4 of the 5 units" in shown
    assert stock_of(sku) == (5, 4)


def test_a_price_is_changed_through_the_service_and_reaches_the_product(admin):
    cheap, _ = product([1, 1], price=1000)
    post(admin, page("variant", cheap, "change"), name="Small", price="5000", position="0", is_active="on")
    pk, _ = product_of(cheap)
    assert rows("inventory", "SELECT min_price, max_price FROM inventory_product WHERE id = %s", [pk]) == [(1100, 5000)]
    assert actions_on("variant", cheap) == [(ACTOR, "edit variant")]
    detail = rows("inventory", "SELECT detail->'before' FROM shop_auditentry WHERE object_id = %s", [cheap])
    assert '"price": 1000' in detail[0][0]


@pytest.mark.parametrize("price", ["-1", "", "cheap", str(10**13)])
def test_a_price_that_is_none_is_refused(admin, price):
    sku = stocked(1, price=700)
    post(admin, page("variant", sku, "change"), name="Small", price=price, position="0", is_active="on")
    assert rows("inventory", "SELECT price FROM inventory_variant WHERE sku = %s", [sku]) == [(700,)]


def test_a_product_is_edited_and_taken_off_sale(admin):
    pk, slug = product_of(stocked(1))
    elsewhere = f"shelf-{uuid4().hex}"
    product([1], category=elsewhere)
    post(admin, page("product", pk, "change"), name="Renamed", description="New", category=elsewhere, is_active="on")
    post(admin, page("product"), action="take_off_sale", _selected_action=str(pk))
    found = rows("inventory", "SELECT slug, name, category, is_active FROM inventory_product WHERE id = %s", [pk])
    assert found == [(slug, "Renamed", elsewhere, False)]
    assert actions_on("product", pk) == [(ACTOR, "edit product")] * 2


def test_category_product_and_variant_are_added_and_sold(admin):
    key = uuid4().hex
    post(admin, page("category", "add"), slug=f"shelf-{key}", name="New shelf", description="", position="7")
    post(
        admin, page("product", "add"), slug=f"goods-{key}", name="New goods", description="", category=f"shelf-{key}",
        is_active="on",
    )  # fmt: skip
    [(pk,)] = rows("inventory", "SELECT id FROM inventory_product WHERE slug = %s", [f"goods-{key}"])
    sku = f"NEW-{key[:12]}"
    post(
        admin, page("variant", "add"), sku=sku, product=str(pk), name="One size", price="500", position="0", is_active="on"
    )
    post(admin, page("stock", sku, "change"), quantity="2", reason="first delivery")
    assert reserved((sku, 2)).status == "held"
    assert actions_on("product", pk) == [(ACTOR, "add product")]


def test_a_slug_that_is_taken_is_refused(admin):
    _, slug = product_of(stocked(1))
    category = rows("inventory", "SELECT category FROM inventory_product WHERE slug = %s", [slug])[0][0]
    shown = post(admin, page("product", "add"), slug=slug, name="Twin", description="", category=category)
    assert "already exists" in shown


@pytest.mark.parametrize("table", ["stock", "stockmovement", "reservation"])
def test_stock_and_reservations_can_neither_be_added_nor_deleted(admin, table):
    assert admin.get(page(table, "add")).status_code == 403


def test_a_reservation_is_read_only(admin):
    sku = stocked(2)
    order_id = reserved((sku, 1)).order_id
    shown = admin.get(page("reservation", order_id, "change")).content.decode()
    assert f"1 × {sku}" in shown
    assert 'name="status"' not in shown


def test_stock_adds_up_after_all_of_it():
    assert_stock_adds_up()
