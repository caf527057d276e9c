"""Sessions of staff in the admin: a copied cookie is worth nothing once the session has ended."""

from uuid import uuid4

import pytest
from django.conf import settings
from django.db import connections

from config.admin_site import UNAVAILABLE_MESSAGE
from contexts.users.interface import SignInFailed, users
from contexts.users.models import StaffSession
from contexts.users.service import passwords, sessions, staff, staff_sessions
from shop.chaos import faults
from shop.db.database import execute, fetch_rows
from shop.db.retention import list_model_rules
from shop.http import tokens
from shop.purging import purge_now
from tests.http_client import Client
from tests.users.accounts import PASSWORD, Person, issue_tokens, register_person, send
from tests.users.test_staff import can_open_admin, create_staff, sign_in_to_admin, staff_member

NEW_PASSWORD = "another walk in there"
OPERATOR = staff.as_operator("test")


def copy_cookie(client: Client) -> Client:
    """Return another client with the same session cookie."""
    copied = Client()
    copied.cookies[settings.SESSION_COOKIE_NAME] = client.cookies[settings.SESSION_COOKIE_NAME].value
    return copied


def enter_new_password(client: Client) -> None:
    form = {"old_password": PASSWORD, "new_password1": NEW_PASSWORD, "new_password2": NEW_PASSWORD}
    assert client.post("/admin/password_change/", form).status_code == 302


def change_permissions(person: Person, *permissions: str) -> None:
    staff.set_permissions(person.id, permissions=[*permissions], actor=OPERATOR)


ENDS = {
    "logout": lambda person, client: client.post("/admin/logout/"),
    "new password in the admin": lambda person, client: enter_new_password(client),
    "new password by a command": lambda person, client: create_staff(
        email=person.email, password=NEW_PASSWORD, existing=True
    ),
    "changepassword": lambda person, client: passwords.set_password(person.email, password=NEW_PASSWORD, actor="test"),
    "disabled": lambda person, client: staff.disable(person.id, actor=OPERATOR),
    "fewer permissions": lambda person, client: change_permissions(person, "users.view"),
    "more permissions": lambda person, client: change_permissions(person, "users.view", "orders.view", "payments.view"),
    "no permissions": lambda person, client: change_permissions(person),
    "another sign-in with the cookie": lambda person, client: client.post(
        "/admin/login/", {"username": person.email, "password": PASSWORD}
    ),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.usefixtures("verified")
def test_a_copied_cookie_opens_nothing_once_its_session_has_ended(end):
    person = staff_member("users.view,orders.view")
    client = sign_in_to_admin(person)
    thief = copy_cookie(client)
    assert can_open_admin(thief)
    ENDS[end](person, client)
    assert not can_open_admin(thief)
    assert not can_open_admin(thief)


def test_staff_who_change_their_password_stay_signed_in_and_their_other_sessions_end():
    person = staff_member()
    client, other = sign_in_to_admin(person), sign_in_to_admin(person)
    enter_new_password(client)
    assert can_open_admin(client) and not can_open_admin(other)


def test_a_sign_out_ends_this_session_only():
    person = staff_member()
    client, other = sign_in_to_admin(person), sign_in_to_admin(person)
    client.post("/admin/logout/")
    assert not can_open_admin(client) and can_open_admin(other)


def test_a_session_of_an_account_that_was_disabled_stays_ended_when_the_account_is_enabled():
    person = staff_member()
    client = sign_in_to_admin(person)
    staff.disable(person.id, actor=OPERATOR)
    staff.enable(person.id, actor=OPERATOR)
    assert not can_open_admin(client) and can_open_admin(sign_in_to_admin(person))


def age(person: Person, column: str, seconds: float) -> None:
    """Move a time of the sessions of an account into the past."""
    sql = f"UPDATE users_staffsession SET {column} = {column} - %s * interval '1 second' WHERE user_id = %s"
    assert execute("users", sql, [seconds, person.id])


def test_a_session_ends_when_it_is_not_used_for_long_and_each_request_prolongs_it():
    person = staff_member()
    client, most = sign_in_to_admin(person), settings.STAFF_SESSION_IDLE_SECONDS
    for _ in range(3):
        age(person, "used_at", most - 60)
        assert can_open_admin(client)
    age(person, "used_at", most + 1)
    assert not can_open_admin(client)


def test_a_session_that_is_in_use_ends_at_its_absolute_limit():
    person = staff_member()
    client, most = sign_in_to_admin(person), settings.STAFF_SESSION_SECONDS
    age(person, "began_at", most - 60)
    assert can_open_admin(client)
    age(person, "began_at", 61)
    assert not can_open_admin(client)


def test_the_cookie_does_not_outlive_the_session():
    client = sign_in_to_admin(staff_member())
    assert int(client.cookies[settings.SESSION_COOKIE_NAME]["max-age"]) == settings.SESSION_COOKIE_AGE
    assert settings.STAFF_SESSION_SECONDS <= settings.SESSION_COOKIE_AGE


def test_a_sign_in_that_began_before_the_permissions_changed_starts_no_session():
    person = staff_member("users.view")
    user = sessions.authenticate(person.email, PASSWORD, "", "staff")
    change_permissions(person, "orders.view")
    with pytest.raises(SignInFailed):
        staff_sessions.start(user)


def test_a_sign_in_that_began_before_the_new_password_starts_no_session_in_the_admin():
    person = staff_member()
    user = sessions.authenticate(person.email, PASSWORD, "", "staff")
    create_staff(email=person.email, password=NEW_PASSWORD, existing=True)
    with pytest.raises(SignInFailed):
        staff_sessions.start(user)


def test_a_request_of_the_admin_is_one_statement_on_sessions(in_one_process):
    person = staff_member()
    client, statements = sign_in_to_admin(person), []

    def record(run, sql, params, many, context):
        statements.append(sql)
        return run(sql, params, many, context)

    with connections["users"].execute_wrapper(record):
        assert client.get("/admin/jsi18n/").status_code == 200
    assert [sql for sql in statements if "users_staffsession" in sql] == [staff_sessions.USE_SESSION_SQL]


def test_without_users_the_admin_is_unavailable_and_no_session_ends(in_one_process):
    client = sign_in_to_admin(staff_member())
    faults.arm("call.users.*.before:p=1:raise")
    try:
        for response in (client.get("/admin/"), client.post("/admin/logout/")):
            assert (response.status_code, response.get("Retry-After")) == (503, "1")
            assert UNAVAILABLE_MESSAGE in response.content.decode()
    finally:
        faults.disarm()
    assert can_open_admin(client)


def test_a_process_of_an_older_release_cannot_renew_a_session_that_it_does_not_name():
    person = staff_member()
    sign_in_to_admin(person)
    with pytest.raises(SignInFailed):
        users.renew_staff(user_id=person.id)


def test_a_session_belongs_to_one_account():
    person, other = staff_member(), staff_member()
    user_id, session_id = tokens.read_staff_session(sign_in_to_admin(person).session["staff_token"])
    assert user_id == person.id
    users.end_staff_session(user_id=other.id, session_id=session_id)
    with pytest.raises(SignInFailed):
        users.renew_staff(user_id=other.id, session_id=session_id)
    assert users.renew_staff(user_id=person.id, session_id=session_id).email == person.email


def test_sessions_that_ended_long_ago_are_deleted():
    person = staff_member()
    client = sign_in_to_admin(person)
    purge_now("users", list_model_rules(StaffSession))
    assert can_open_admin(client)
    age(person, "began_at", settings.STAFF_SESSION_SECONDS + 90_000)
    assert purge_now("users", list_model_rules(StaffSession)) >= 1
    assert fetch_rows("users", "SELECT 1 FROM users_staffsession WHERE user_id = %s", [person.id]) == []


MONEY_ROUTES = (
    f"payments/{uuid4()}/refunds",
    f"staff/payments/{uuid4()}/capture",
    f"staff/payments/{uuid4()}/void",
    f"payments/sandbox/{uuid4()}/movements",
)
REVOKED = {
    "disabled": (lambda person, refresh: staff.disable(person.id, actor=OPERATOR), 401),
    "signed out": (lambda person, refresh: send("post", "auth/logout", {"refresh": refresh}), 401),
    "new password": (
        lambda person, refresh: create_staff(email=person.email, password=NEW_PASSWORD, existing=True),
        401,
    ),
    "no permissions": (lambda person, refresh: change_permissions(person), 401),
    "other permissions": (lambda person, refresh: change_permissions(person, "payments.view"), 403),
}


def ask_for_money(path: str, token: str) -> int:
    body = {"reason": "A scratch"} if path.endswith("refunds") else None
    body = {"movement": "refund"} if path.endswith("movements") else body
    return send("post", path, body, token=token, HTTP_IDEMPOTENCY_KEY=uuid4().hex).status_code


@pytest.mark.parametrize("what", REVOKED)
@pytest.mark.parametrize("path", MONEY_ROUTES, ids=lambda path: path.rpartition("/")[2])
def test_a_token_that_is_still_valid_moves_no_money_once_its_owner_may_not(path, what):
    person = staff_member("payments.refund,payments.capture")
    access, refresh = issue_tokens(person)
    assert ask_for_money(path, access) == 404
    revoke, status = REVOKED[what]
    revoke(person, refresh)
    assert ask_for_money(path, access) == status


def test_money_waits_until_users_can_tell_who_may_move_it(in_one_process):
    access, _ = issue_tokens(staff_member("payments.refund"))
    faults.arm("call.users.present_permissions.before:p=1:raise")
    try:
        response = send(
            "post", MONEY_ROUTES[0], {"reason": "A scratch"}, token=access, HTTP_IDEMPOTENCY_KEY=uuid4().hex
        )
        assert (response.status_code, response.json()["code"]) == (503, "shop.unavailable")
    finally:
        faults.disarm()
    assert ask_for_money(MONEY_ROUTES[0], access) == 404


def test_the_present_permissions_are_those_of_an_active_account_and_a_session_that_lasts():
    person, customer = staff_member("orders.view"), register_person()
    session_id = tokens.verify(issue_tokens(person)[0]).session_id
    assert users.present_permissions(user_id=person.id, session_id=session_id) == ("orders.view",)
    assert users.present_permissions(user_id=person.id) == ("orders.view",)
    assert users.present_permissions(user_id=person.id, session_id=uuid4()) == ()
    assert users.present_permissions(user_id=customer.id, session_id=session_id) == ()
    assert users.present_permissions(user_id=uuid4()) == ()
