"""Bulk actions of the admin: one message, background work with progress, and only with permission."""

import pytest

from shop import batch
from shop.db.database import fetch_rows
from tests.admin_forms import open_form, run_action, send_form
from tests.concurrency import repeat_concurrently
from tests.factories import create_product
from tests.inventory.staff_clients import ACTOR
from tests.staff_accounts import sign_in_to_admin

LIST = "/admin/inventory/product/"


@pytest.fixture
def products():
    """Return the keys of three new products."""
    slugs = [create_product([1], name=f"Mug {n}", slug="") for n in range(3)]
    sql = "SELECT product_id FROM inventory_variant WHERE sku = ANY(%s)"
    return [key for (key,) in fetch_rows("inventory", sql, [[sku for [sku] in slugs]])]


def on_sale(keys):
    sql = "SELECT count(*) FROM inventory_product WHERE id = ANY(%s) AND is_active"
    return fetch_rows("inventory", sql, [keys])[0][0]


def test_few_objects_are_done_at_once_with_one_message(products):
    page = run_action(sign_in_to_admin("inventory.change"), LIST, "take_off_sale", *products).content.decode()
    assert "3 of 3: off sale." in page and page.count('class="success"') == 1
    assert on_sale(products) == 0
    sql = "SELECT actor, action FROM shop_auditentry WHERE object_id = ANY(%s)"
    assert fetch_rows("inventory", sql, [[str(key) for key in products]]) == [(ACTOR, "edit product")] * 3


@pytest.mark.usefixtures("in_one_process")
def test_many_objects_are_done_in_the_background_with_progress(products, settings):
    settings.ADMIN_BULK_SECONDS = 0.000001  # one object
    client = sign_in_to_admin("inventory.change")
    page = run_action(client, LIST, "take_off_sale", *products)
    path = page.redirect_chain[-1][0]
    assert "1 of 3 processed" in page.content.decode() and 'http-equiv="refresh"' in page.content.decode()
    assert on_sale(products) == 2
    while on_sale(products):
        batch.run_due("inventory")
    html = client.get(path).content.decode()
    assert "3 of 3 processed, finished" in html and "3 of 3: off sale." in html
    assert path in client.get(f"{LIST}bulk/").content.decode()


@pytest.mark.usefixtures("in_one_process")
def test_a_running_bulk_action_is_stopped_by_staff_who_may_run_it(products, settings):
    settings.ADMIN_BULK_SECONDS = 0.000001  # one object
    clerk, manager = sign_in_to_admin("inventory.view"), sign_in_to_admin("inventory.change")
    path = run_action(manager, LIST, "take_off_sale", *products).redirect_chain[-1][0]
    assert 'name="stop"' in manager.get(path).content.decode()
    assert 'name="stop"' not in clerk.get(path).content.decode()
    assert clerk.post(path, {"stop": "yes"}).status_code == 403
    html = manager.post(path, {"stop": "yes"}, follow=True).content.decode()
    assert f"1 of 3: off sale. Stopped by {ACTOR}: 2 not processed." in html
    assert "1 of 3 processed, stopped" in html and 'http-equiv="refresh"' not in html and 'name="stop"' not in html
    batch.run_due("inventory")
    assert on_sale(products) == 2
    assert "does not run any more" in manager.post(path, {"stop": "yes"}, follow=True).content.decode()
    assert ">stopped<" in manager.get(f"{LIST}bulk/").content.decode()


def test_a_bulk_action_requires_the_permission_to_change(products):
    clerk = sign_in_to_admin("inventory.view")
    run_action(clerk, LIST, "take_off_sale", *products)
    assert on_sale(products) == 3
    job = run_action(sign_in_to_admin("inventory.change"), LIST, "put_on_sale", *products)
    assert job.status_code == 200
    assert clerk.get(f"{LIST}bulk/").status_code == 200
    assert sign_in_to_admin("orders.view").get(f"{LIST}bulk/").status_code == 403


def list_jobs(products):
    sql = "SELECT id FROM shop_batchjob WHERE objects_to_change->0->>0 = ANY(%s)"
    return [job for (job,) in fetch_rows("inventory", sql, [[str(key) for key in products]])]


def test_a_double_click_on_an_action_starts_one_job(products):
    staff = sign_in_to_admin("inventory.change")
    form = open_form(staff, LIST) | {"action": "take_off_sale", "_selected_action": [str(key) for key in products]}
    pages = []
    repeat_concurrently(2, lambda _: pages.append(staff.post(LIST, form, follow=True).content.decode()))
    assert len(list_jobs(products)) == 1
    assert sorted("already started" in page for page in pages) == [False, True]
    put_on = staff.post(LIST, form | {"action": "put_on_sale"}, follow=True).content.decode()
    assert "3 of 3: on sale." in put_on and len(list_jobs(products)) == 2
    fewer = form | {"_selected_action": [str(products[0])]}
    assert "off sale." in staff.post(LIST, fewer, follow=True).content.decode()
    assert on_sale(products) == 2
    again = open_form(staff, LIST) | {"action": "take_off_sale", "_selected_action": form["_selected_action"]}
    assert "3 of 3: off sale." in staff.post(LIST, again, follow=True).content.decode()
    assert on_sale(products) == 0


def price_of(sku):
    return fetch_rows("inventory", "SELECT price FROM inventory_variant WHERE sku = %s", [sku])[0][0]


def test_the_history_of_an_object_is_in_words(products):
    staff = sign_in_to_admin("inventory.change")
    sku = fetch_rows("inventory", "SELECT sku FROM inventory_variant WHERE product_id = %s", [products[0]])[0][0]
    path, old = f"/admin/inventory/variant/{sku}", price_of(sku)
    send_form(staff, f"{path}/change/", open_form(staff, f"{path}/change/"), price="20.50")
    form = open_form(staff, f"{path}/change/")
    del form["is_active"]
    send_form(staff, f"{path}/change/", form, name="Blue")
    html = staff.get(f"{path}/history/").content.decode()
    assert f"price: {old / 100:.2f} EUR → 20.50 EUR" in html
    assert "is active: yes → no" in html and "→ Blue" in html
    assert "{" not in html[html.index("<tbody>") : html.index("</tbody>")]
