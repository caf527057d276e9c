"""Hostile inputs of staff: every page, filter, action and form of the admin refuses them, and none of them is an error."""

import os
from collections import Counter
from uuid import uuid4

import pytest

from contexts.users.service import staff
from shop.ids import uuid7
from tests.admin_forms import run_action
from tests.engine_driver import run_until_idle
from tests.factories import create_sku
from tests.fuzz.admin_inputs import AdminRequest, Attacker, build_list_path, list_query_names, list_tables
from tests.fuzz.world import staff_caller
from tests.shopper import InProcessShopper
from tests.staff_accounts import id_of, sign_in_to_admin

CASES = int(os.environ.get("FUZZ_CASES") or 400)
SEED = int(os.environ.get("FUZZ_SEED") or 1)
LISTS = sorted(build_list_path(table) for table in list_tables())
USERS, ORDERS, PAYMENTS, STOCK = (
    "/admin/users/user/", "/admin/orders/order/", "/admin/payments/payment/", "/admin/inventory/stock/",
)  # fmt: skip


@pytest.fixture(scope="module")
def _rows():
    """Create rows in every table."""
    shopper = InProcessShopper()
    shopper.register()
    order = shopper.order(create_sku(3), email=None).body
    assert shopper.order(create_sku(3), email=None).status == 201
    shopper.post(f"orders/{order['id']}/cancel")
    run_until_idle()


@pytest.fixture
def boss(_rows):
    client = sign_in_to_admin("*")
    client.raise_request_exception = False
    return client


def send(client, request):
    """Send a request. One that was accepted may have disabled its sender, or changed the sender's permissions."""
    response = request.send(client)
    if response.status_code == 302 and "/admin/login/" in response.headers["Location"]:
        client.cookies = sign_in_to_admin("*").cookies
        response = request.send(client)
    return response


def test_generated_requests_of_staff_are_no_errors(boss):
    attacker, found, answers = Attacker(SEED), [], Counter()
    for _ in range(CASES):
        request = attacker.draw()
        response = send(boss, request)
        answers[response.status_code] += 1
        assert "X-Request-ID" in response.headers or response.status_code == 414  # of the server, before the shop
        if response.status_code >= 500:
            found.append(f"{response.status_code} {request}")
    print(f"\nFUZZ_SEED={SEED}: {sorted(answers.items())}")
    assert not found, f"FUZZ_SEED={SEED}: " + "\n".join(found)
    assert answers[200] > CASES / 20, "if all requests are refused, the test proves little"


def disable(user_id):
    staff.disable(user_id, actor=staff.as_operator("tests"))


def demote(user_id):
    staff.set_permissions(user_id, permissions=[], actor=staff.as_operator("tests"))


@pytest.mark.parametrize("change", [disable, demote])
def test_requests_go_on_after_one_that_changed_the_account_of_its_sender(change, boss):
    staff_caller()  # the last account with all permissions stays as it is
    change(id_of("*"))
    listing = AdminRequest("GET", USERS)
    assert listing.send(boss).status_code == 302
    assert send(boss, listing).status_code == 200


@pytest.mark.parametrize("path", LISTS)
def test_every_parameter_of_a_list_refuses_a_null_character_and_a_text_that_is_no_value(path, boss):
    [table] = [one for one in list_tables() if build_list_path(one) == path]
    for name in list_query_names(table):
        assert send(boss, AdminRequest("GET", path, ((name, "a\0b"),))).status_code == 400, name
        assert send(boss, AdminRequest("GET", path, ((name, "not-an-id"),))).status_code < 500, name


def get(path, **query):
    return AdminRequest("GET", path, tuple(query.items()))


def post(path, **data):
    return AdminRequest("POST", path, data=tuple(data.items()))


REFUSED = [
    get(ORDERS, q="a\0b"),
    get(ORDERS, status__exact="a\0b"),
    get(ORDERS, nonsense="1"),
    get(USERS, created_at__year="9999"),
    get(USERS, created_at__year="9" * 30),
    get(USERS, created_at__year="2024", created_at__month="13"),
    get(USERS, created_at__year="٣"),
    get(PAYMENTS, created_at__gte="99999-01-01"),
    get("/admin/payments/refund/", payment__id__exact="not-an-id"),
    get("/admin/inventory/product/", category__slug__exact="a\0b"),
    get(f"{USERS}a%00b/change/"),
    get(f"{STOCK}a%00b/history/"),
    get(
        "/admin/inventory/autocomplete/", app_label="inventory", model_name="variant", field_name="product", term="a\0b"
    ),
    post(ORDERS, action="resume_checkout", _selected_action="not-an-id"),
    post(ORDERS, action="request_cancel", _selected_action="a\0b"),
    post(PAYMENTS, action="accept", _selected_action=str(uuid7()), reason="a\0b"),
    post("/admin/events/", context="orders", row="1", what="discard", reason="a\0b"),
    post("/admin/login/", username="a\0b", password="wrong"),
]


@pytest.mark.parametrize("request_", REFUSED, ids=str)
def test_a_value_that_no_page_can_read_is_refused_with_a_page(request_, boss):
    response = request_.send(boss)
    html = response.content.decode()
    assert response.status_code == 400
    assert response.headers["Content-Type"].startswith("text/html") and response.headers["X-Request-ID"] in html


MISSING = [
    f"{USERS}not-an-id/change/", f"{STOCK}{'x' * 300}/change/", f"{ORDERS}not-an-id/history/", f"{PAYMENTS}{'9' * 30}/change/",
    f"{USERS}bulk/{uuid4()}/", f"{USERS}bulk/not-an-id/", "/admin/r/x/y/", "/admin/nothing/",
]  # fmt: skip


@pytest.mark.parametrize("path", MISSING)
def test_an_object_that_cannot_exist_is_missing(path, boss):
    assert AdminRequest("GET", path).send(boss).status_code in (302, 404)


@pytest.mark.parametrize("page", ["change/", "history/", "delete/"])
def test_an_empty_name_of_the_key_is_the_primary_key(page, boss):
    path = f"{USERS}{id_of('*')}/{page}"
    assert get(path, _to_field="").send(boss).status_code == get(path).send(boss).status_code < 500


def test_no_object_is_shown_by_the_number_of_its_table(boss):
    """Django's redirect to the public page of an object asks for no permission and knows one database only."""
    for number in range(1, 60):
        assert boss.get(f"/admin/r/{number}/not-an-id/").status_code == 404


@pytest.mark.parametrize("action", ["mark_refunded", "accept"])
def test_a_reason_that_is_too_long_decides_nothing(action, boss):
    page = run_action(boss, PAYMENTS, action, uuid7())
    assert page.status_code == 200
    response = post(PAYMENTS, action=action, _selected_action=str(uuid7()), reason="x" * 70_000).send(boss)
    assert response.status_code in (200, 302)


def test_a_reason_to_discard_an_event_has_a_limit(boss):
    post("/admin/events/", context="orders", row="1", what="discard", reason="x" * 301).send(boss)
    assert "at most 300 characters" in boss.get("/admin/events/").content.decode()
