"""Every route × method × caller: without access the status is 401, 403 or, for the object of another user, 404."""

import uuid

import pytest
from django.urls import get_resolver, path

from tests.architecture.test_routes import METHODS, OUTSIDE, routes
from tests.factories import create_sku
from tests.fuzz.matrix import GUESTS_ORDER, MATRIX, ROLES, Request, create_callers, guest_order_request
from tests.fuzz.world import customer_caller, staff_caller
from tests.http_client import Client
from tests.shopper import InProcessShopper, Response

API = "api/v1/"


def addresses(patterns) -> set[str]:
    """Return every route of the API with each of its methods, such as `GET orders`."""
    found = set()
    for address, callback in routes(patterns):
        view = getattr(callback, "cls", None)
        if address not in OUTSIDE and not address.startswith("admin/"):
            found |= {
                f"{name.upper()} {address.removeprefix(API)}" for name in METHODS if view is None or hasattr(view, name)
            }
    return found


def test_every_route_and_method_has_an_entry():
    assert addresses(get_resolver("config.urls").url_patterns) == set(MATRIX)


def test_a_route_without_an_entry_is_found():
    planted = [path("api/v1/planted", lambda request: None)]
    assert addresses(planted) - set(MATRIX) == {f"{method.upper()} planted" for method in METHODS}


def send(caller: InProcessShopper, method: str, request: Request) -> Response:
    return caller.send(method, request.path, request.body, **request.headers)


@pytest.mark.parametrize("entry", MATRIX)
def test_each_caller_gets_the_declared_status(entry):
    method, declared = entry.split(" ")[0], MATRIX[entry]
    callers = create_callers(declared.permission)
    for role in ROLES:
        request, expected = declared.build_request(callers["owner"]), declared.answer(role)
        answer = send(callers[role], method, request)
        assert answer.status == expected, (role, answer.body)
        if expected == 404:
            assert_same_as_unknown_id(answer, callers[role], method, request)
            assert send(callers["owner"], method, request).status == declared.answer("owner"), (
                "the attempt changed something"
            )


def assert_same_as_unknown_id(answer: Response, caller: InProcessShopper, method: str, request: Request) -> None:
    known = next(part for part in request.path.split("/") if len(part) == 36)
    unknown = send(
        caller, method, Request(request.path.replace(known, str(uuid.uuid4())), request.body, request.headers)
    )
    same = ("type", "title", "status", "detail", "code", "facts")
    assert [answer.body[name] for name in same] == [unknown.body[name] for name in same]


@pytest.mark.parametrize("entry", MATRIX)
def test_every_route_refuses_an_unknown_query_parameter_and_ignores_those_of_advertisements(entry):
    method, declared = entry.split(" ")[0], MATRIX[entry]
    callers = create_callers(declared.permission)
    request = declared.build_request(callers["owner"])
    path, caller = request.path, callers[declared.allowed_role]
    for unknown in ("dry_run=true", "dry_run=", "DRY_RUN", "cursor=%3Fdry_run"):
        request.path = f"{path}{'&' if '?' in path else '?'}{unknown}"
        answer = send(caller, method, request)
        assert (answer.status, answer.body["code"]) == (400, "shop.bad_query"), (unknown, answer.body)
    request.path = f"{path}{'&' if '?' in path else '?'}utm_source=mail&_=1&gclid=2&fbclid=3"
    assert send(caller, method, request).status == declared.answer(declared.allowed_role)


@pytest.mark.parametrize("route", GUESTS_ORDER)
def test_a_guest_order_is_readable_only_with_its_token(route):
    method, address = route.split(" ")
    request = guest_order_request(address)(customer_caller())
    other = guest_order_request(address)(customer_caller())
    for caller in (InProcessShopper(), customer_caller(), staff_caller()):
        assert caller.send(method, request.path).status == 404
        assert caller.send(method, request.path, **other.headers).status == 404, "another order's token"
    assert InProcessShopper().send(method, request.path, **request.headers).status == 200


def test_lists_contain_only_the_callers_objects():
    owner, stranger = customer_caller(), customer_caller()
    order = owner.order(create_sku(1), email=None).body
    assert [found["id"] for found in owner.get("orders").body["results"]] == [order["id"]]
    for caller in (stranger, staff_caller()):
        assert caller.get("orders").body["results"] == []
        assert caller.get("notifications").body["results"] == []


def test_a_cursor_of_another_customer_reveals_nothing():
    owner, stranger = customer_caller(), customer_caller()
    for _ in range(3):
        owner.order(create_sku(1), email=None)
    theirs = owner.get("orders?page_size=1").body["next"].partition("?")[2]
    assert stranger.get(f"orders?{theirs}").body["results"] == []


def admin_pages() -> list[str]:
    """Return the paths of the admin without parameters."""
    return sorted(
        f"/{address}"
        for address, _ in routes(get_resolver("config.urls").url_patterns)
        if address.startswith("admin/")
        and "<" not in address
        and not address.startswith(("admin/login", "admin/logout"))
    )


def test_the_admin_has_pages():
    assert len(admin_pages()) > 10


def test_every_admin_page_redirects_others_to_sign_in():
    access = {"Authorization": f"Bearer {staff_caller().token}"}  # an access token is no admin session
    for page in admin_pages():
        for headers in ({}, access):
            answer = Client(headers=headers).get(page)
            assert (answer.status_code, answer.get("Location", "")[:13]) == (302, "/admin/login/"), page
