"""Staff: permissions, the admin, and the command create_staff."""

import io
import json
import uuid
from datetime import timedelta

import jwt
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import OperationalError, connections

from config.admin_site import UNAVAILABLE_MESSAGE
from contexts.users.interface import SignInFailed, users
from contexts.users.service import staff
from shop import clock
from shop.chaos import faults
from shop.db.database import fetch_rows
from shop.errors import NotFound
from shop.http import tokens
from tests.admin_forms import open_form, send_form
from tests.environment import signing_key
from tests.http_client import Client
from tests.users.accounts import PASSWORD, Person, refresh, register_person, send, sign_in, unique_email
from tests.users.accounts import issue_tokens as pair_of

LIST = "/admin/users/user/"


def create_staff(**options) -> str:
    out = io.StringIO()
    call_command("create_staff", stdout=out, **options)
    return out.getvalue()


def staff_member(permissions: str = "*") -> Person:
    email = unique_email()
    create_staff(email=email, password=PASSWORD, permissions=permissions)
    [(user_id,)] = fetch_rows("users", "SELECT id FROM users_user WHERE email = %s", [email])
    return Person(id=user_id, email=email)


def sign_in_to_admin(person: Person, password: str = PASSWORD) -> Client:
    client = Client()
    client.post("/admin/login/", {"username": person.email, "password": password})
    return client


def can_open_admin(client: Client) -> bool:
    return client.get("/admin/").status_code == 200


def listed_people(client: Client, *people: Person, **query: str) -> list[Person]:
    """Return those of these people that the list links to."""
    page = client.get(LIST, query).content.decode()
    return [person for person in people if f"{LIST}{person.id}/change/" in page]


def permissions_of(person: Person) -> list[str]:
    return fetch_rows("users", "SELECT permissions FROM users_user WHERE id = %s", [person.id])[0][0]


def audit_entries(person: Person) -> list[tuple]:
    sql = "SELECT actor, action, detail FROM shop_auditentry WHERE object_id = %s ORDER BY id"
    return [(actor, action, json.loads(detail)) for actor, action, detail in fetch_rows("users", sql, [str(person.id)])]


def test_staff_sign_in_to_the_admin_and_find_accounts():
    manager, customer = staff_member(), register_person(full_name="Zitrus Findling")
    client = Client()
    response = client.post(f"/admin/login/?next={LIST}", {"username": manager.email.upper(), "password": PASSWORD})
    assert (response.status_code, response.headers["Location"]) == (302, LIST)
    assert "Users" in client.get("/admin/").content.decode()
    assert listed_people(client, customer, manager, q=customer.email) == [customer]
    for staff_only, expected in (("yes", manager), ("no", customer)):
        assert [one for one in (manager, customer) if listed_people(client, one, q=one.email, staff=staff_only)] == [
            expected
        ]
    html = client.get(f"{LIST}{customer.id}/change/").content.decode()
    assert "Zitrus Findling" in html
    assert "md5$" not in html
    client.post("/admin/logout/")
    assert not can_open_admin(client)


def test_customers_and_wrong_passwords_cannot_sign_in_to_the_admin():
    customer, manager = register_person(), staff_member()
    for person, password in (
        (customer, PASSWORD),
        (manager, "wrong"),
        (Person(id=None, email=unique_email()), PASSWORD),
    ):
        response = Client().post("/admin/login/", {"username": person.email, "password": password})
        assert response.status_code == 200
        assert str(SignInFailed()) in response.content.decode()
        assert not can_open_admin(sign_in_to_admin(person, password))


def test_the_admin_redirects_to_sign_in_without_a_session():
    response = Client().get(LIST)
    assert (response.status_code, response.headers["Location"]) == (302, f"/admin/login/?next={LIST}")
    assert "E-mail address" in Client().get("/admin/login/").content.decode()


def with_session_token(token: str) -> Client:
    client = Client()
    session = client.session
    session["staff_token"] = token
    session.save()
    client.cookies[settings.SESSION_COOKIE_NAME] = session.session_key
    return client


def staff_token(person: Person, *, lifetime: timedelta, key: str = "", typ: str = "staff", session_id=None) -> str:
    now = clock.now()
    claims = {
        "iss": settings.JWT_ISSUER,
        "aud": settings.JWT_AUDIENCE,
        "sub": str(person.id),
        "iat": now + min(lifetime, timedelta()),
        "exp": now + lifetime,
        "typ": typ,
        "jti": uuid.uuid4().hex,
        "name": person.email,
        "permissions": ["*"],
    } | ({"sid": str(session_id)} if session_id else {})
    kid = {"kid": settings.JWKS["keys"][0]["kid"]}
    return jwt.encode(claims, key or settings.JWT_SIGNING_KEY, "ES256", headers=kid)


EXPIRED = timedelta(hours=-1)


def expired_session(person: Person) -> Client:
    """Return a client of a session whose token has expired."""
    _, session_id = tokens.read_staff_session(sign_in_to_admin(person).session["staff_token"])
    return with_session_token(staff_token(person, lifetime=EXPIRED, session_id=session_id))


def test_a_session_outlives_its_staff_token():
    assert can_open_admin(expired_session(staff_member()))


@pytest.fixture
def users_unavailable(in_one_process):
    faults.arm("call.users.*.before:p=1:raise")
    yield
    faults.disarm()


def test_staff_stay_signed_in_while_users_is_unavailable(users_unavailable):
    faults.disarm()
    client = expired_session(staff_member())
    faults.arm("call.users.*.before:p=1:raise")
    response = client.get(LIST)
    assert (response.status_code, response.get("Retry-After")) == (503, "1")
    faults.disarm()
    assert can_open_admin(client)


def test_a_sign_in_during_an_outage_is_not_a_wrong_password(users_unavailable):
    person = staff_member()
    client = Client()
    response = client.post("/admin/login/", {"username": person.email, "password": PASSWORD})
    assert (response.status_code, response.get("Retry-After")) == (503, "1")
    assert UNAVAILABLE_MESSAGE in response.content.decode()
    assert not can_open_admin(client)
    faults.disarm()
    client.post("/admin/login/", {"username": person.email, "password": PASSWORD})
    assert can_open_admin(client)


def test_a_page_without_its_database_is_503_with_retry_after(in_one_process):
    def fail(*_: object) -> None:
        raise OperationalError("the server is unavailable")

    client = sign_in_to_admin(staff_member())
    with connections["users"].execute_wrapper(fail):
        response = client.get(LIST)
    assert (response.status_code, response.get("Retry-After")) == (503, "1")
    assert client.get(LIST).status_code == 200


def test_an_access_token_or_a_foreign_key_is_not_a_session():
    manager = staff_member()
    access, _ = pair_of(manager)
    _, session_id = tokens.read_staff_session(sign_in_to_admin(manager).session["staff_token"])
    for token in (
        access,
        staff_token(manager, lifetime=EXPIRED),
        staff_token(manager, lifetime=EXPIRED, key=signing_key(), session_id=session_id),
        staff_token(manager, lifetime=EXPIRED, typ="access", session_id=session_id),
        staff_token(staff_member(), lifetime=EXPIRED, session_id=session_id),
    ):
        assert not can_open_admin(with_session_token(token))


def test_a_forged_session_cookie_is_not_a_session():
    client = Client()
    client.cookies[settings.SESSION_COOKIE_NAME] = "eyJzdGFmZl90b2tlbiI6ICJhIn0:1:forged"
    assert not can_open_admin(client)


def test_a_staff_token_lasts_five_minutes_and_contains_the_email_address():
    manager = staff_member("users.view")
    session = users.sign_in_staff(email=manager.email, password=PASSWORD)
    assert session.lasts_seconds == 300
    caller = tokens.verify(session.token, kind=tokens.STAFF)
    assert (caller.id, caller.name, caller.permissions) == (manager.id, manager.email, {"users.view"})
    claims = jwt.decode(session.token, options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 300


def test_a_staff_access_token_contains_permissions_and_the_email_address_as_name():
    manager = staff_member("inventory.change")
    access, _ = pair_of(manager)
    assert send("patch", "users/me", {"full_name": "Other Name"}, token=access).status_code == 200
    caller = tokens.verify(pair_of(manager)[0])
    assert (caller.permissions, caller.name) == ({"inventory.change"}, manager.email)


def test_permissions_are_granted_in_the_admin_and_audited():
    manager, person = staff_member(), register_person()
    client, path = sign_in_to_admin(manager), f"{LIST}{person.id}/change/"
    send_form(client, path, open_form(client, path), permissions="orders.view, inventory.change,orders.view")
    assert permissions_of(person) == ["inventory.change", "orders.view"]
    assert audit_entries(person) == [
        (manager.email, "set password", {}),
        (manager.email, "set permissions", {"before": [], "after": ["inventory.change", "orders.view"]}),
    ]
    assert "set permissions" in client.get(f"{LIST}{person.id}/history/").content.decode()


def test_the_audit_trail_has_the_whole_address_of_staff_with_a_long_one():
    local = uuid.uuid4().hex * 2
    clerks = [Person(id=None, email=f"{local}@{n}{'.satsuma' * 22}.example") for n in (1, 2)]
    person = register_person()
    for clerk, action in zip(clerks, ("disable", "enable"), strict=True):
        create_staff(email=clerk.email, password=PASSWORD, permissions="users.change")
        sign_in_to_admin(clerk).post(LIST, {"action": action, "_selected_action": [str(person.id)]})
    assert [actor for actor, _, _ in audit_entries(person)] == [clerk.email for clerk in clerks]


def test_an_unknown_permission_is_refused_with_a_message():
    person = register_person()
    client, path = sign_in_to_admin(staff_member()), f"{LIST}{person.id}/change/"
    assert "A permission is" in send_form(client, path, open_form(client, path), permissions="everything!")
    assert permissions_of(person) == []


def test_changing_permissions_requires_the_grant_permission():
    clerk, person = staff_member("users.view,users.change"), register_person()
    client = sign_in_to_admin(clerk)
    for target in (person, clerk):
        before = permissions_of(target)
        client.post(f"{LIST}{target.id}/change/", {"permissions": "*"})
        assert permissions_of(target) == before


def test_accounts_are_disabled_and_enabled_in_the_admin():
    clerk, person = staff_member("users.change"), register_person()
    _, token = pair_of(person)
    client = sign_in_to_admin(clerk)
    for action, status in (("disable", 401), ("disable", 401), ("enable", 200)):
        client.post(LIST, {"action": action, "_selected_action": [str(person.id)]})
        assert sign_in(person).status_code == status
    assert refresh(token).status_code == 401
    assert audit_entries(person) == [(clerk.email, "disable", {}), (clerk.email, "enable", {})]


def test_view_permission_does_not_allow_disabling():
    person = register_person()
    client = sign_in_to_admin(staff_member("users.view"))
    assert client.get(LIST).status_code == 200
    client.post(LIST, {"action": "disable", "_selected_action": [str(person.id)]})
    assert sign_in(person).status_code == 200


def test_staff_of_other_contexts_do_not_see_accounts():
    client = sign_in_to_admin(staff_member("orders.view"))
    assert can_open_admin(client)
    assert client.get(LIST).status_code == 403


@pytest.mark.parametrize("change", [staff.disable, staff.enable])
def test_an_unknown_account_is_not_found(change):
    with pytest.raises(NotFound):
        change(uuid.uuid4(), actor=staff.as_operator("test"))


def test_the_command_generates_a_password_and_prints_it_once():
    email = unique_email()
    output = create_staff(email=email)
    password = output.rpartition("password: ")[2].strip()
    assert can_open_admin(sign_in_to_admin(Person(id=None, email=email), password))
    assert "password" not in create_staff(email=email.upper(), if_missing=True)
    assert can_open_admin(sign_in_to_admin(Person(id=None, email=email), password))


def test_repeating_the_command_sets_a_new_password_and_revokes_sessions():
    email = unique_email()
    create_staff(email=email, password=PASSWORD, permissions="users.view,orders.view")
    create_staff(email=email, password=PASSWORD, permissions="users.view,orders.view", existing=True)
    person = Person(id=fetch_rows("users", "SELECT id FROM users_user WHERE email = %s", [email])[0][0], email=email)
    assert permissions_of(person) == ["orders.view", "users.view"]
    _, token = pair_of(person)
    create_staff(email=email, password="another walk in there", permissions="orders.view", existing=True)
    assert refresh(token).status_code == 401
    assert sign_in(person, "another walk in there").status_code == 200
    assert permissions_of(person) == ["orders.view"]


def test_the_command_does_not_change_an_existing_account_with_if_missing():
    customer = register_person()
    assert "nothing changed" in create_staff(
        email=customer.email.upper(), password="another walk in there", if_missing=True
    )
    assert permissions_of(customer) == []
    assert sign_in(customer).status_code == 200


def test_the_command_refuses_invalid_accounts():
    for options in ({"email": "invalid"}, {"password": "short"}, {"permissions": "everything!"}):
        with pytest.raises(CommandError):
            create_staff(**{"email": unique_email(), "password": PASSWORD, **options})
