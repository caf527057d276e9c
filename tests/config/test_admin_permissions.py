"""Every action, look-up and autocomplete of every table in the admin, tried by staff who may only view it."""

import re

import pytest
from django.contrib import admin
from django.core.exceptions import ImproperlyConfigured
from django.db import models

from shop.admin.bulk_actions import bulk_action
from shop.admin.context_admin import ContextAdmin
from shop.db.database import fetch_rows
from tests.factories import create_sku
from tests.shopper import InProcessShopper
from tests.users.test_staff import sign_in_to_admin, staff_member

TABLES = {table._meta.label_lower: one for table, one in admin.site._registry.items()}
ACTIONS = [(label, action.__name__) for label, one in TABLES.items() for action in one.actions or ()]
COLUMNS = [(label, field.name) for label, one in TABLES.items() for field in one.opts.fields]
RELATIONS = [
    (label, field.name) for label, one in TABLES.items() for field in one.opts.fields if isinstance(field, models.ForeignKey)
]  # fmt: skip
PROBES = ("{}", "{}__startswith", "{}__in", "{}__gt", "{}__contains", "{}__regex", "{}__isnull")


@pytest.fixture(scope="module")
def viewer():
    contexts = sorted({label.partition(".")[0] for label in TABLES})
    return sign_in_to_admin(staff_member(",".join(f"{context}.view" for context in contexts)))


@pytest.fixture(scope="module")
def boss():
    return sign_in_to_admin(staff_member())


@pytest.fixture(scope="module")
def _bought():
    assert InProcessShopper().order(create_sku(3)).status == 201


def build_list(label):
    return f"/admin/{label.replace('.', '/')}/"


def find_row(label):
    """Return the key of some row of a table, and the row."""
    opts = TABLES[label].opts
    rows = fetch_rows(
        opts.app_label, f"SELECT {opts.pk.column}, t::text FROM {opts.db_table} t ORDER BY 1 DESC LIMIT 1"
    )
    return rows[0] if rows else (None, "")


def test_every_table_refuses_undeclared_lookups_and_actions_without_permissions_by_construction():
    assert all(isinstance(one, ContextAdmin) for one in TABLES.values())
    assert {label for label, _ in ACTIONS} >= {"inventory.product", "orders.order", "payments.payment", "users.user"}


@pytest.mark.parametrize(("label", "action"), ACTIONS)
def test_an_action_is_neither_offered_to_nor_carried_out_for_staff_who_only_view(label, action, viewer, boss, _bought):
    context, path = label.partition(".")[0], build_list(label)
    key, before = find_row(label)
    assert f'value="{action}"' in boss.get(path).content.decode() or key is None
    assert f'value="{action}"' not in viewer.get(path).content.decode()
    jobs = fetch_rows(context, "SELECT count(*) FROM shop_batchjob")
    page = viewer.post(path, {"action": action, "_selected_action": [str(key)], "reason": "because"}, follow=True)
    assert page.status_code in (200, 403)
    assert fetch_rows(context, "SELECT count(*) FROM shop_batchjob") == jobs
    assert key is None or find_row(label)[1] == before


@pytest.mark.parametrize(("label", "column"), COLUMNS)
def test_a_lookup_that_is_not_declared_is_refused(label, column, viewer):
    declared = TABLES[label].list_declared_lookups()
    for lookup in (probe.format(column) for probe in PROBES):
        if lookup not in declared:
            assert viewer.get(build_list(label), {lookup: "1"}).status_code == 400, lookup


@pytest.mark.parametrize(
    "lookup", ["password__startswith", "families__revoked", "families__tokens__digest__startswith"]
)
def test_password_hashes_and_sessions_cannot_be_guessed_by_lookups(lookup, boss):
    assert boss.get("/admin/users/user/", {lookup: "a"}).status_code == 400


@pytest.mark.parametrize("label", sorted(TABLES))
def test_every_filter_and_date_that_a_list_shows_works(label, viewer, boss, _bought):
    page = boss.get(build_list(label)).content.decode()
    queries = set(re.findall(r'href="\?([^"]+)"', page))
    for query in sorted(queries):
        response = viewer.get(f"{build_list(label)}?{query.replace('&amp;', '&')}")
        assert response.status_code in (200, 302), query
    assert TABLES[label].list_filter == () or queries


@pytest.mark.parametrize("label", sorted(TABLES))
def test_every_link_from_an_object_to_a_list_is_a_declared_lookup(label, boss, _bought):
    key, _ = find_row(label)
    if key is not None:
        page = boss.get(f"{build_list(label)}{key}/change/").content.decode()
        for link in re.findall(r'href="(/admin/\w+/\w+/\?[^"]+)"', page):
            assert boss.get(link.replace("&amp;", "&")).status_code == 200, link


@pytest.mark.parametrize(("label", "field"), RELATIONS)
def test_an_autocomplete_answers_only_for_a_declared_field_that_the_caller_can_change(label, field, viewer, boss):
    app, _, model = label.partition(".")
    query = {"app_label": app, "model_name": model, "field_name": field, "term": ""}
    is_declared = field in TABLES[label].autocomplete_fields
    assert boss.get(f"/admin/{app}/autocomplete/", query).status_code == (200 if is_declared else 403)
    assert viewer.get(f"/admin/{app}/autocomplete/", query).status_code == 403


def test_a_form_searches_below_the_path_of_its_context(boss):
    """The gateway of a shop in several processes sends this path to the host of the context."""
    form = boss.get("/admin/inventory/variant/add/").content.decode()
    assert re.findall(r'data-ajax--url="([^"]+)"', form) == ["/admin/inventory/autocomplete/"]
    query = {"app_label": "inventory", "model_name": "variant", "field_name": "product", "term": ""}
    assert boss.get("/admin/orders/autocomplete/", query).status_code == 403


def test_an_action_without_permissions_stops_the_start():
    @admin.action(description="Open to all")
    def open_to_all(*_):
        raise AssertionError

    table = TABLES["inventory.product"]
    for actions in ([open_to_all], [admin.action(permissions=[])(open_to_all)], ["missing_method"]):
        with pytest.raises(ImproperlyConfigured, match="does not say its permissions"):
            type("OpenAdmin", (ContextAdmin,), {"actions": actions})(table.model, admin.AdminSite())
    with pytest.raises(TypeError, match="permissions"):
        bulk_action("inventory.open", "Open to all", done="done")
