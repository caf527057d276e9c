"""Every route × method × caller: who may not gets 401, 403 or, for what is somebody else's, 404. A new route needs an entry."""

import uuid

import pytest
from django.urls import get_resolver, path

from tests.architecture.test_routes import METHODS, OUTSIDE, routes
from tests.browser import Client
from tests.fuzz.matrix import GUESTS_ORDER, MATRIX, ROLES, Request, callers, of_guest
from tests.fuzz.world import customer, staff
from tests.inventory.stock import stocked
from tests.shopper import Answer, InProcess

API = "api/v1/"


def addresses(patterns) -> set[str]:
    """Every method of every route of the API."""
    found = set()
    for address, callback in routes(patterns):
        view = getattr(callback, "cls", None)
        if address not in OUTSIDE and not address.startswith("admin/"):
            found |= {f"{name.upper()} {address.removeprefix(API)}" for name in METHODS if view is None or hasattr(view, name)}
    return found


def test_every_route_and_method_has_an_entry():
    assert addresses(get_resolver("config.urls").url_patterns) == set(MATRIX)


def test_a_route_without_an_entry_is_found():
    planted = [path("api/v1/planted", lambda request: None)]
    assert addresses(planted) - set(MATRIX) == {f"{method.upper()} planted" for method in METHODS}


def send(caller: InProcess, method: str, request: Request) -> Answer:
    return caller.send(method, request.path, request.body, **request.headers)


@pytest.mark.parametrize("entry", MATRIX)
def test_each_caller_gets_what_the_matrix_says(entry):
    method, declared = entry.split(" ")[0], MATRIX[entry]
    people = callers(declared.permission)
    for role in ROLES:
        asked, expected = declared.ask(people["owner"]), declared.answer(role)
        answer = send(people[role], method, asked)
        assert answer.status == expected, (role, answer.body)
        if expected == 404:
            assert_as_if_it_had_never_been(answer, people[role], method, asked)
            assert send(people["owner"], method, asked).status == declared.answer("owner"), "the attempt changed something"


def assert_as_if_it_had_never_been(answer: Answer, caller: InProcess, method: str, asked: Request) -> None:
    known = next(part for part in asked.path.split("/") if len(part) == 36)
    never = send(caller, method, Request(asked.path.replace(known, str(uuid.uuid4())), asked.body, asked.headers))
    same = ("type", "title", "status", "detail", "code", "facts")
    assert [answer.body[name] for name in same] == [never.body[name] for name in same]


@pytest.mark.parametrize("route", GUESTS_ORDER)
def test_a_guests_order_opens_by_its_token_alone(route):
    method, address = route.split(" ")
    asked = of_guest(address)(customer())
    other = of_guest(address)(customer())
    for caller in (InProcess(), customer(), staff()):
        assert caller.send(method, asked.path).status == 404
        assert caller.send(method, asked.path, **other.headers).status == 404, "another order's token"
    assert InProcess().send(method, asked.path, **asked.headers).status == 200


def test_lists_hold_the_callers_own_alone():
    owner, stranger = customer(), customer()
    order = owner.order(stocked(1), email=None).body
    assert [found["id"] for found in owner.get("orders").body["results"]] == [order["id"]]
    for caller in (stranger, staff()):
        assert caller.get("orders").body["results"] == []
        assert caller.get("notifications").body["results"] == []


def test_a_cursor_of_somebody_elses_list_shows_nothing_of_it():
    owner, stranger = customer(), customer()
    for _ in range(3):
        owner.order(stocked(1), email=None)
    theirs = owner.get("orders?page_size=1").body["next"].partition("?")[2]
    assert stranger.get(f"orders?{theirs}").body["results"] == []


def admin_pages() -> list[str]:
    """The admin's addresses without parameters."""
    return sorted(
        f"/{address}"
        for address, _ in routes(get_resolver("config.urls").url_patterns)
        if address.startswith("admin/") and "<" not in address and not address.startswith(("admin/login", "admin/logout"))
    )


def test_the_admin_has_pages():
    assert len(admin_pages()) > 10


def test_every_page_of_the_admin_asks_everybody_else_to_sign_in():
    access = {"Authorization": f"Bearer {staff().token}"}  # an access token is no session of staff
    for page in admin_pages():
        for headers in ({}, access):
            answer = Client(headers=headers).get(page)
            assert (answer.status_code, answer.get("Location", "")[:13]) == (302, "/admin/login/"), page
