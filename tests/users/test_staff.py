"""Staff: permissions, the admin, and the command that makes the first of them."""

import io
import json
import uuid
from datetime import timedelta

import jwt
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import OperationalError, connections

from config import faults
from config.admin import AWAY
from contexts.users.interface import SignInFailed, users
from contexts.users.service import staff
from shop import clock, tokens
from shop.database import rows
from shop.errors import NotFound
from tests.browser import Client
from tests.environment import signing_key
from tests.users.people import PASSWORD, Person, fresh_email, refresh, send, sign_in, somebody
from tests.users.people import tokens as pair_of

LIST = "/admin/users/user/"


def create_staff(**options) -> str:
    out = io.StringIO()
    call_command("create_staff", stdout=out, **options)
    return out.getvalue()


def staff_member(permissions: str = "*") -> Person:
    email = fresh_email()
    create_staff(email=email, password=PASSWORD, permissions=permissions)
    [(user_id,)] = rows("users", "SELECT id FROM users_user WHERE email = %s", [email])
    return Person(id=user_id, email=email)


def at_the_admin(person: Person, password: str = PASSWORD) -> Client:
    client = Client()
    client.post("/admin/login/", {"username": person.email, "password": password})
    return client


def may_enter(client: Client) -> bool:
    return client.get("/admin/").status_code == 200


def listed(client: Client, *people: Person, **query: str) -> list[Person]:
    """Those of these people to whom a list has a link."""
    page = client.get(LIST, query).content.decode()
    return [person for person in people if f"{LIST}{person.id}/change/" in page]


def permissions_of(person: Person) -> list[str]:
    return rows("users", "SELECT permissions FROM users_user WHERE id = %s", [person.id])[0][0]


def trail(person: Person) -> list[tuple]:
    sql = "SELECT actor, action, detail FROM shop_auditentry WHERE object_id = %s ORDER BY id"
    return [(actor, action, json.loads(detail)) for actor, action, detail in rows("users", sql, [str(person.id)])]


def test_staff_sign_in_at_the_admin_and_find_people():
    boss, customer = staff_member(), somebody(full_name="Zitrus Findling")
    client = Client()
    answer = client.post(f"/admin/login/?next={LIST}", {"username": boss.email.upper(), "password": PASSWORD})
    assert (answer.status_code, answer.headers["Location"]) == (302, LIST)
    assert "Users" in client.get("/admin/").content.decode()
    assert listed(client, customer, boss, q=customer.email) == [customer]
    for staff_only, expected in (("yes", boss), ("no", customer)):
        assert [one for one in (boss, customer) if listed(client, one, q=one.email, staff=staff_only)] == [expected]
    shown = client.get(f"{LIST}{customer.id}/change/").content.decode()
    assert "Zitrus Findling" in shown
    assert "md5$" not in shown
    client.post("/admin/logout/")
    assert not may_enter(client)


def test_customers_and_wrong_passwords_do_not_get_into_the_admin():
    customer, boss = somebody(), staff_member()
    for person, password in ((customer, PASSWORD), (boss, "wrong"), (Person(id=None, email=fresh_email()), PASSWORD)):
        answer = Client().post("/admin/login/", {"username": person.email, "password": password})
        assert answer.status_code == 200
        assert "E-mail address and password do not match" in answer.content.decode()
        assert not may_enter(at_the_admin(person, password))


def test_the_admin_asks_who_comes_without_a_session_to_sign_in():
    answer = Client().get(LIST)
    assert (answer.status_code, answer.headers["Location"]) == (302, f"/admin/login/?next={LIST}")
    assert "E-mail address" in Client().get("/admin/login/").content.decode()


def with_session_token(token: str) -> Client:
    client = Client()
    session = client.session
    session["staff_token"] = token
    session.save()
    client.cookies[settings.SESSION_COOKIE_NAME] = session.session_key
    return client


def staff_token(person: Person, *, lasts: timedelta, key: str = "", typ: str = "staff") -> str:
    now = clock.now()
    claims = {
        "iss": settings.JWT_ISSUER, "aud": settings.JWT_AUDIENCE, "sub": str(person.id), "iat": now + min(lasts, timedelta()),
        "exp": now + lasts, "typ": typ, "jti": uuid.uuid4().hex, "name": person.email, "permissions": ["*"],
    }  # fmt: skip
    kid = {"kid": settings.JWKS["keys"][0]["kid"]}
    return jwt.encode(claims, key or settings.JWT_SIGNING_KEY, "ES256", headers=kid)


EXPIRED = timedelta(hours=-1)


def test_a_session_outlives_its_staff_token():
    client = with_session_token(staff_token(staff_member(), lasts=EXPIRED))
    assert may_enter(client)
    assert tokens.verify(client.session["staff_token"], kind=tokens.STAFF).has_perm("users.view")


@pytest.fixture
def users_do_not_answer(in_one_process):
    faults.arm("call.users.*.before:p=1:raise")
    yield
    faults.disarm()


def test_staff_who_cannot_be_told_apart_are_told_so_and_stay_signed_in(users_do_not_answer):
    client = with_session_token(staff_token(staff_member(), lasts=EXPIRED))
    answer = client.get(LIST)
    assert (answer.status_code, answer.get("Retry-After")) == (503, "1")
    faults.disarm()
    assert may_enter(client)


def test_a_sign_in_that_nobody_could_check_is_no_wrong_password(users_do_not_answer):
    person = staff_member()
    client = Client()
    answer = client.post("/admin/login/", {"username": person.email, "password": PASSWORD})
    assert (answer.status_code, answer.get("Retry-After")) == (503, "1")
    assert AWAY in answer.content.decode()
    assert not may_enter(client)
    faults.disarm()
    client.post("/admin/login/", {"username": person.email, "password": PASSWORD})
    assert may_enter(client)


def test_a_page_whose_database_is_away_says_when_to_come_back(in_one_process):
    def away(*_: object) -> None:
        raise OperationalError("the server is gone")

    client = at_the_admin(staff_member())
    with connections["users"].execute_wrapper(away):
        answer = client.get(LIST)
    assert (answer.status_code, answer.get("Retry-After")) == (503, "1")
    assert client.get(LIST).status_code == 200


def test_a_session_ends_with_its_permissions_or_account_once_the_token_has_run_out():
    demoted, disabled, customer = staff_member(), staff_member(), somebody()
    staff.set_permissions(demoted.id, permissions=[], actor="test")
    staff.disable(disabled.id, actor="test")
    for person in (demoted, disabled, customer):
        assert not may_enter(with_session_token(staff_token(person, lasts=EXPIRED)))
        with pytest.raises(SignInFailed):
            users.renew_staff(user_id=person.id)


def test_a_renewed_token_carries_the_permissions_as_they_are_now():
    person = staff_member("users.view,orders.view")
    staff.set_permissions(person.id, permissions=["users.view"], actor="test")
    client = with_session_token(staff_token(person, lasts=EXPIRED))
    assert may_enter(client)
    assert tokens.verify(client.session["staff_token"], kind=tokens.STAFF).permissions == {"users.view"}


def test_neither_an_access_token_nor_a_foreign_key_makes_a_session():
    boss = staff_member()
    access, _ = pair_of(boss)
    for token in (
        access,
        staff_token(boss, lasts=EXPIRED, key=signing_key()),
        staff_token(boss, lasts=EXPIRED, typ="access"),
    ):
        assert not may_enter(with_session_token(token))


def test_a_session_cookie_that_we_did_not_sign_is_no_session():
    client = Client()
    client.cookies[settings.SESSION_COOKIE_NAME] = "eyJzdGFmZl90b2tlbiI6ICJhIn0:1:forged"
    assert not may_enter(client)


def test_a_staff_token_lasts_five_minutes_and_names_staff_by_their_address():
    boss = staff_member("users.view")
    session = users.sign_in_staff(email=boss.email, password=PASSWORD)
    assert session.lasts_seconds == 300
    caller = tokens.verify(session.token, kind=tokens.STAFF)
    assert (caller.id, caller.name, caller.permissions) == (boss.id, boss.email, {"users.view"})
    claims = jwt.decode(session.token, options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 300


def test_an_access_token_of_staff_carries_their_permissions_and_no_name_of_their_choice():
    boss = staff_member("inventory.change")
    access, _ = pair_of(boss)
    assert send("patch", "users/me", {"full_name": "Somebody Else"}, token=access).status_code == 200
    caller = tokens.verify(pair_of(boss)[0])
    assert (caller.permissions, caller.name) == ({"inventory.change"}, boss.email)


def test_permissions_are_granted_in_the_admin_and_audited():
    boss, person = staff_member(), somebody()
    client = at_the_admin(boss)
    answer = client.post(f"{LIST}{person.id}/change/", {"permissions": "orders.view, inventory.change,orders.view"})
    assert answer.status_code == 302
    assert permissions_of(person) == ["inventory.change", "orders.view"]
    assert trail(person) == [
        (boss.email[:64], "set permissions", {"before": [], "after": ["inventory.change", "orders.view"]})
    ]
    assert "set permissions" in client.get(f"{LIST}{person.id}/history/").content.decode()


def test_what_is_no_permission_is_refused_with_a_message():
    person = somebody()
    answer = at_the_admin(staff_member()).post(f"{LIST}{person.id}/change/", {"permissions": "everything!"})
    assert "A permission is" in answer.content.decode()
    assert permissions_of(person) == []


def test_who_may_change_users_but_not_grant_changes_no_permissions():
    clerk, person = staff_member("users.view,users.change"), somebody()
    client = at_the_admin(clerk)
    for target in (person, clerk):
        before = permissions_of(target)
        client.post(f"{LIST}{target.id}/change/", {"permissions": "*"})
        assert permissions_of(target) == before


def test_accounts_are_disabled_and_enabled_in_the_admin():
    clerk, person = staff_member("users.change"), somebody()
    _, token = pair_of(person)
    client = at_the_admin(clerk)
    for action, status in (("disable", 401), ("disable", 401), ("enable", 200)):
        client.post(LIST, {"action": action, "_selected_action": [str(person.id)]})
        assert sign_in(person).status_code == status
    assert refresh(token).status_code == 401
    assert trail(person) == [(clerk.email[:64], "disable", {}), (clerk.email[:64], "enable", {})]


def test_who_may_only_look_disables_nobody():
    person = somebody()
    client = at_the_admin(staff_member("users.view"))
    assert client.get(LIST).status_code == 200
    client.post(LIST, {"action": "disable", "_selected_action": [str(person.id)]})
    assert sign_in(person).status_code == 200


def test_staff_of_other_contexts_do_not_see_accounts():
    client = at_the_admin(staff_member("orders.view"))
    assert may_enter(client)
    assert client.get(LIST).status_code == 403


@pytest.mark.parametrize("change", [staff.disable, staff.enable])
def test_nobody_is_not_found(change):
    with pytest.raises(NotFound):
        change(uuid.uuid4(), actor="test")


def test_the_command_makes_a_password_and_prints_it_once():
    email = fresh_email()
    printed = create_staff(email=email)
    password = printed.rpartition("password: ")[2].strip()
    assert may_enter(at_the_admin(Person(id=None, email=email), password))
    assert "password" not in create_staff(email=email)
    assert "password" not in create_staff(email=email.upper(), if_missing=True)
    assert may_enter(at_the_admin(Person(id=None, email=email), password))


def test_the_command_repeated_changes_nothing_and_with_another_password_ends_sessions():
    email = fresh_email()
    for _ in range(2):
        create_staff(email=email, password=PASSWORD, permissions="users.view,orders.view")
    person = Person(id=rows("users", "SELECT id FROM users_user WHERE email = %s", [email])[0][0], email=email)
    assert permissions_of(person) == ["orders.view", "users.view"]
    _, token = pair_of(person)
    create_staff(email=email, password="another walk in there", permissions="orders.view")
    assert refresh(token).status_code == 401
    assert sign_in(person, "another walk in there").status_code == 200
    assert permissions_of(person) == ["orders.view"]


def test_the_command_leaves_an_account_that_exists_alone_if_asked_to():
    customer = somebody()
    assert "nothing changed" in create_staff(
        email=customer.email.upper(), password="another walk in there", if_missing=True
    )
    assert permissions_of(customer) == []
    assert sign_in(customer).status_code == 200


def test_the_command_refuses_what_makes_no_account():
    for options in ({"email": "nobody"}, {"password": "short"}, {"permissions": "everything!"}):
        with pytest.raises(CommandError):
            create_staff(**{"email": fresh_email(), "password": PASSWORD, **options})
