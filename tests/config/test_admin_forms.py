"""Every form of every table in the admin: saved once, never over newer values, and refused if it does not say its version."""

from uuid import uuid4

import pytest
from django.contrib import admin
from django.core.exceptions import ImproperlyConfigured

from shop.admin.context_admin import ContextAdmin
from shop.admin.submissions import TOKEN_FIELD, VERSION_FIELD
from shop.db.database import fetch_rows
from tests.admin_forms import open_form, send_form
from tests.factories import create_sku
from tests.users.accounts import register_person
from tests.users.test_staff import sign_in_to_admin, staff_member

TABLES = {table._meta.label_lower: one for table, one in admin.site._registry.items() if isinstance(one, ContextAdmin)}


def find_key(sku, column):
    sql = f"""SELECT {column} FROM inventory_variant v JOIN inventory_product p ON p.id = product_id
              JOIN inventory_category c ON c.slug = p.category WHERE sku = %s"""
    return fetch_rows("inventory", sql, [sku])[0][0]


# For each table with a form: how to make an object, and three changes of its form that exclude each other.
EDITABLE = {
    "inventory.category": (lambda: find_key(create_sku(1), "c.id"), [{"description": f"Text {n}"} for n in range(3)]),
    "inventory.product": (lambda: find_key(create_sku(1), "p.id"), [{"name": f"Jar {n}"} for n in range(3)]),
    "inventory.variant": (lambda: create_sku(1), [{"position": str(30 + n)} for n in range(3)]),
    "inventory.stock": (lambda: create_sku(5), [{"quantity": str(n), "reason": "count"} for n in (1, 2, 3)]),
    "users.user": (
        lambda: register_person().id,
        [{"permissions": one} for one in ("orders.view", "payments.view", "users.view")],
    ),
}
READ_ONLY = sorted(set(TABLES) - set(EDITABLE))


@pytest.fixture
def client():
    return sign_in_to_admin(staff_member())


def build_page(label, key):
    return f"/admin/{label.replace('.', '/')}/{key}/change/"


def read_values(client, path):
    """Return what the page shows, without what differs from form to form."""
    form = open_form(client, path)
    shown = {name: value for name, value in form.items() if name not in (TOKEN_FIELD, "csrfmiddlewaretoken")}
    return shown, form[VERSION_FIELD]


def test_every_table_with_a_form_is_listed():
    assert {label for label, one in TABLES.items() if one.saves} == set(EDITABLE)
    assert {label for label, one in TABLES.items() if one.can_add} <= set(EDITABLE)


@pytest.mark.parametrize("label", EDITABLE)
def test_a_form_without_its_version_saves_nothing(client, label):
    create, (change, _, _) = EDITABLE[label]
    path = build_page(label, create())
    before, form = read_values(client, path), open_form(client, path)
    del form[VERSION_FIELD]
    for version in ({}, {VERSION_FIELD: ""}, {VERSION_FIELD: " "}, {VERSION_FIELD: "0" * 32}, {VERSION_FIELD: "*"}):
        html = send_form(client, path, form | {TOKEN_FIELD: str(uuid4())} | version, **change)
        assert "Nothing was saved" in html
        assert read_values(client, path) == before


@pytest.mark.parametrize("label", EDITABLE)
def test_a_form_without_its_token_is_saved_once(client, label):
    create, (change, _, _) = EDITABLE[label]
    path = build_page(label, create())
    form = open_form(client, path)
    del form[TOKEN_FIELD]
    assert "Nothing was saved" not in send_form(client, path, form, **change)
    saved = read_values(client, path)
    assert "Nothing was saved" in send_form(client, path, form, **change)
    assert "Nothing was saved" in send_form(client, path, form | {TOKEN_FIELD: "?" * 65}, **change)
    assert read_values(client, path) == saved


@pytest.mark.parametrize("label", EDITABLE)
def test_a_stale_form_saves_nothing_and_a_form_is_saved_once(client, label):
    create, (first, second, third) = EDITABLE[label]
    path = build_page(label, create())
    stale, form = open_form(client, path), open_form(client, path)
    assert "Nothing was saved" not in send_form(client, path, form, **first)
    saved = read_values(client, path)
    assert "Nothing was saved" in send_form(client, path, stale, **second)
    assert "already saved" in send_form(client, path, form, **third)
    assert read_values(client, path) == saved


@pytest.mark.parametrize("label", READ_ONLY)
def test_a_table_without_a_form_takes_none(client, label):
    assert client.post(build_page(label, uuid4()), {"status": "confirmed"}).status_code == 403
    assert client.get(f"/admin/{label.replace('.', '/')}/add/").status_code == 403


def test_staff_who_cannot_grant_get_no_form_of_an_account():
    clerk, person = sign_in_to_admin(staff_member("users.view,users.change")), register_person()
    page = build_page("users.user", person.id)
    html = clerk.get(page).content.decode()
    assert 'name="_save"' not in html and 'name="permissions"' not in html
    assert clerk.post(page, open_form(clerk, page)).status_code == 403


class UnversionedAdmin(ContextAdmin):
    def save_through_service(self, request, obj, form, change):
        """Save without a version."""


class ListAdmin(ContextAdmin):
    list_editable = ("name",)


class InlineAdmin(ContextAdmin):
    inlines = (admin.TabularInline,)


@pytest.mark.parametrize("declared", [UnversionedAdmin, ListAdmin, InlineAdmin])
def test_a_table_that_would_save_without_a_version_is_refused_at_start(declared):
    with pytest.raises(ImproperlyConfigured, match="version"):
        declared(next(iter(admin.site._registry)), admin.site)
