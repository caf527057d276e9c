"""The security log: sign-ins, sessions, passwords, refusals and changes of accounts, with who, from where and why."""

import json
import subprocess
import sys

import pytest
from django.conf import settings

from contexts.users.service import staff
from shop.security_log import hash_email
from tests.admin_forms import open_form, send_form
from tests.http_client import Client
from tests.security_log import recorded_events
from tests.users.accounts import (
    PASSWORD,
    issue_tokens,
    post,
    refresh,
    register_person,
    send,
    sign_in,
    unique_email,
    unique_ip_address,
)
from tests.users.test_sessions import backdate_use, logout
from tests.users.test_staff import sign_in_to_admin, staff_member

WRONG = "not the password"
BROWSER = "Mozilla/5.0 (X11; Linux) Orchard/1.0"


@pytest.fixture
def events():
    with recorded_events() as find:
        yield find


def from_client(address: str = "", agent: str = BROWSER) -> dict[str, str]:
    return {"REMOTE_ADDR": address or unique_ip_address(), "HTTP_USER_AGENT": agent}


def only(entries):
    assert len(entries) == 1, entries
    return entries[0]


def test_a_wrong_password_is_logged_with_account_address_user_agent_and_reason(events):
    person, address = register_person(), unique_ip_address()
    assert sign_in(person, WRONG, **from_client(address), HTTP_X_REQUEST_ID="request-7").status_code == 401
    entry = only(events("authn_login_fail"))
    assert (entry["account"], entry["reason"], entry["entrance"]) == (str(person.id), "wrong_password", "public")
    assert (entry["client_address"], entry["user_agent"], entry["level"]) == (address, BROWSER, "warning")
    assert (entry["email_hash"], entry["correlation_id"]) == (hash_email(person.email.upper()), "request-7")
    assert not events("authn_token_fail"), "the 401 of a sign-in is no refused token"


def test_a_sign_in_to_an_unknown_account_is_logged_under_the_hash_of_its_address(events):
    email = unique_email()
    post("auth/token", {"email": email, "password": WRONG})
    entry = only(events("authn_login_fail"))
    assert (entry["account"], entry["reason"], entry["email_hash"]) == (None, "unknown_account", hash_email(email))


def test_a_disabled_account_that_signs_in_is_logged(events):
    person = register_person()
    staff.disable(person.id, actor=staff.as_operator("test"))
    assert sign_in(person).status_code == 401
    assert only(events("authn_login_fail"))["reason"] == "account_disabled"


def test_a_sign_in_and_a_sign_out_are_logged_once(events):
    person = register_person()
    response = sign_in(person, **from_client())
    entry = only(events("authn_login_success"))
    assert (entry["account"], entry["user_agent"], entry["level"]) == (str(person.id), BROWSER, "info")
    for _ in range(2):
        assert logout(response.json()["refresh"]) == 204
    assert only(events("authn_token_revoked"))["account"] == str(person.id)


def test_sign_ins_to_the_admin_are_logged_with_their_client(events):
    member, customer, address = staff_member(), register_person(), unique_ip_address()
    for person, password in ((member, WRONG), (customer, PASSWORD), (member, PASSWORD)):
        client = Client(**from_client(address))
        client.post("/admin/login/", {"username": person.email, "password": password})
    found = [(entry["reason"], entry["account"]) for entry in events("authn_login_fail", client_address=address)]
    assert found == [("wrong_password", str(member.id)), ("not_staff", str(customer.id))]
    entry = only(events("authn_login_success", client_address=address))
    assert (entry["entrance"], entry["account"], entry["user_agent"]) == ("staff", str(member.id), BROWSER)
    client.post("/admin/logout/")
    assert only(events("authn_token_revoked", entrance="staff"))["account"] == str(member.id)


def test_a_cookie_of_an_ended_session_is_logged(events):
    client, copy = sign_in_to_admin(staff_member()), Client()
    copy.cookies[settings.SESSION_COOKIE_NAME] = client.cookies[settings.SESSION_COOKIE_NAME].value
    client.post("/admin/logout/")
    copy.get("/admin/", REMOTE_ADDR="192.0.2.7")
    assert only(events("session_use_after_expire"))["client_address"] == "192.0.2.7"


def test_too_many_sign_ins_are_logged_as_such(events):
    person, client = register_person(), from_client()
    statuses = [sign_in(person, WRONG, **client).status_code for _ in range(settings.SIGN_IN_FREE_ATTEMPTS + 3)]
    assert 429 in statuses
    assert len(events("authn_login_fail")) == statuses.count(401)
    assert len(events("authn_login_fail_max", reason="throttled")) == statuses.count(429)
    assert len(events("excess_rate_limit_exceeded", status=429, limit="sign_in_delay")) == statuses.count(429)


def test_a_stolen_refresh_token_is_a_critical_event(events):
    person = register_person()
    _, stolen = issue_tokens(person)
    refresh(stolen)
    backdate_use(stolen, 3600)
    assert refresh(stolen).status_code == refresh(stolen).status_code == 401
    entry = only(events("authn_token_reuse"))
    assert (entry["account"], entry["level"], entry["reason"]) == (str(person.id), "critical", "used_before")
    assert only(events("authn_refresh_fail"))["reason"] == "unknown_token_or_ended_session"


@pytest.mark.parametrize(
    ("header", "event", "reason"),
    [
        ({}, "authn_token_missing", "shop.unauthenticated"),
        ({"HTTP_AUTHORIZATION": "Bearer nonsense"}, "authn_token_fail", "malformed"),
        ({"HTTP_AUTHORIZATION": "Bearer " + "x" * 9000}, "authn_token_fail", "too_long"),
        ({"HTTP_AUTHORIZATION": "Basic eDp5"}, "authn_token_fail", "other_scheme"),
    ],
)
def test_a_request_without_a_valid_token_is_logged(events, header, event, reason):
    assert send("get", "users/me", **header, **from_client("192.0.2.1")).status_code == 401
    entry = only(events(event))
    assert (entry["reason"], entry["path"], entry["status"]) == (reason, "/api/v1/users/me", 401)
    assert (entry["client_address"], entry["user_agent"], entry["account"]) == ("192.0.2.1", BROWSER, None)


def test_a_change_of_permissions_is_logged_once_it_is_committed(events):
    manager, member = staff_member(), staff_member("orders.view")
    client = sign_in_to_admin(manager)
    before = len(events("privilege_permissions_changed"))
    path = f"/admin/users/user/{member.id}/change/"
    send_form(client, path, {**open_form(client, path), "permissions": "orders.view,payments.view"})
    entry = events("privilege_permissions_changed")[before:]
    assert [(one["account"], one["object_id"], one["reason"]) for one in entry] == [
        (str(manager.id), str(member.id), "set_permissions")
    ]


def test_a_refused_change_by_staff_is_logged_although_its_page_is_a_200(events):
    clerk, member = staff_member("users.view,users.change,users.permissions"), staff_member("orders.view")
    client = sign_in_to_admin(clerk)
    path = f"/admin/users/user/{member.id}/change/"
    send_form(client, path, {**open_form(client, path), "permissions": "orders.view,payments.refund"})
    entry = only(events("authz_fail"))
    assert (entry["reason"], entry["account"], entry["path"]) == ("users.permission_not_held", str(clerk.id), path)


def test_a_new_password_and_a_refused_one_are_logged(events):
    member = staff_member()
    client = sign_in_to_admin(member)
    for new in ("short", "another walk in the orchard"):
        form = {"old_password": PASSWORD, "new_password1": new, "new_password2": new}
        client.post("/admin/password_change/", form)
    assert only(events("authn_password_change_fail"))["reason"] == "weak_password"
    assert only(events("authn_password_change", account=str(member.id)))["object_id"] == str(member.id)


def test_the_log_has_no_secret_and_no_address_of_a_person(events):
    canary = "canary-mina@example.com"
    secret = "canary secret of an orchard"
    post("auth/register", {"email": canary, "password": secret, "full_name": "Canary Mina"})
    tokens = post("auth/token", {"email": canary, "password": secret}).json()
    post("auth/token", {"email": canary, "password": "canary wrong"})
    send("get", "users/me", token=tokens["access"] + "canary")
    refresh(tokens["refresh"])
    post("auth/logout", {"refresh": tokens["refresh"]})
    Client().post("/admin/login/", {"username": canary, "password": secret})
    text = json.dumps(events())
    assert {"user_created", "authn_login_success", "authn_login_fail", "authn_token_fail", "authn_token_revoked"} <= {
        entry["event"] for entry in events()
    }
    assert "canary" not in text.lower()
    assert not any(token in text for token in tokens.values())
    assert "[redacted]" not in text, "a field with a secret's name tells nothing"


def test_a_hostile_user_agent_is_bounded_and_stays_on_its_line(in_one_process, events):
    sign_in(register_person(), WRONG, **from_client(agent="x\u202e\x00\n" + "y" * 1000))
    agent = only(events("authn_login_fail"))["user_agent"]
    assert agent.startswith("x")
    assert len(agent) == 200
    assert agent.isascii()
    assert agent.isprintable()


def test_a_command_writes_its_result_to_stdout_and_its_log_to_stderr():
    email = unique_email()
    command = [sys.executable, "manage.py", "create_staff", "--email", email]
    done = subprocess.run(command, cwd=settings.BASE_DIR, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"{email} can sign in at /admin/, password: ") and done.stdout.count("\n") == 1
    logged = [json.loads(line) for line in done.stderr.splitlines()]
    assert "privilege_permissions_changed" in [entry["event"] for entry in logged]
