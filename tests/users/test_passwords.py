"""Passwords of staff: the page of the admin, and the commands createsuperuser and changepassword."""

import io

import pytest
from django.core.management import CommandError, call_command

from shop.db.database import fetch_rows
from tests.http_client import Client
from tests.users.accounts import PASSWORD, Person, refresh, sign_in, unique_email
from tests.users.accounts import issue_tokens as pair_of
from tests.users.test_staff import audit_entries, can_open_admin, permissions_of, sign_in_to_admin, staff_member

PAGE, NEW_PASSWORD = "/admin/password_change/", "mandarins-are-orange-7"


def change_password(client: Client, old: str = PASSWORD, new: str = NEW_PASSWORD, again: str | None = None):
    form = {"old_password": old, "new_password1": new, "new_password2": new if again is None else again}
    return client.post(PAGE, form, follow=True)


def run(command: str, *arguments: str, **options) -> str:
    out = io.StringIO()
    call_command(command, *arguments, stdout=out, **options)
    return out.getvalue()


def person_of(email: str) -> Person:
    [(user_id,)] = fetch_rows("users", "SELECT id FROM users_user WHERE email = %s", [email])
    return Person(id=user_id, email=email)


def test_staff_change_their_own_password_and_stay_signed_in():
    clerk = staff_member("orders.view")
    client, other_session = sign_in_to_admin(clerk), pair_of(clerk)
    assert "Change password" in client.get("/admin/").content.decode()
    assert client.get(PAGE).status_code == 200
    page = change_password(client)
    assert page.status_code == 200 and page.redirect_chain[-1][0] == "/admin/password_change/done/"
    assert can_open_admin(client)
    assert can_open_admin(sign_in_to_admin(clerk, NEW_PASSWORD))
    assert not can_open_admin(sign_in_to_admin(clerk, PASSWORD))
    assert refresh(other_session[1]).status_code == 401
    assert audit_entries(clerk)[-1][:2] == (clerk.email, "change password")


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"old": "wrong"}, "The current password is incorrect."),
        ({"again": "something-else-9"}, "The two passwords do not match."),
        ({"new": "12345"}, "too short"),
    ],
)
def test_a_password_that_cannot_be_changed_is_explained(form, message):
    clerk = staff_member("orders.view")
    page = change_password(sign_in_to_admin(clerk), **form)
    assert page.status_code == 200 and message in page.content.decode()
    assert can_open_admin(sign_in_to_admin(clerk, PASSWORD))


def test_the_page_asks_others_to_sign_in():
    assert Client().post(PAGE, {}).headers["Location"] == f"/admin/login/?next={PAGE}"


def test_createsuperuser_creates_an_account_with_all_permissions(monkeypatch):
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", PASSWORD)
    email = unique_email()
    assert "created successfully" in run("createsuperuser", email=email.upper(), interactive=False)
    assert permissions_of(person_of(email)) == ["*"]
    assert can_open_admin(sign_in_to_admin(person_of(email)))


def test_createsuperuser_changes_no_account(monkeypatch):
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", NEW_PASSWORD)
    clerk = staff_member("orders.view")
    with pytest.raises(CommandError, match="already exists"):
        run("createsuperuser", email=clerk.email, interactive=False)
    assert permissions_of(clerk) == ["orders.view"]
    assert can_open_admin(sign_in_to_admin(clerk, PASSWORD))


@pytest.mark.parametrize(
    ("email", "password", "message"),
    [("", PASSWORD, "--email"), ("no address", PASSWORD, "not a valid e-mail"), ("{new}", "1234", "too short")],
)
def test_createsuperuser_explains_what_is_missing(monkeypatch, email, password, message):
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", password)
    with pytest.raises(CommandError, match=message):
        run("createsuperuser", email=email.format(new=unique_email()), interactive=False)


def test_an_account_without_a_password_cannot_sign_in_until_one_is_set(monkeypatch):
    monkeypatch.delenv("DJANGO_SUPERUSER_PASSWORD", raising=False)
    email = unique_email()
    assert "changepassword" in run("createsuperuser", email=email, interactive=False)
    assert sign_in(person_of(email)).status_code == 401
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", NEW_PASSWORD)
    assert "successfully" in run("changepassword", email.upper(), interactive=False)
    assert can_open_admin(sign_in_to_admin(person_of(email), NEW_PASSWORD))


def test_changepassword_ends_the_sessions_of_the_account(monkeypatch):
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", NEW_PASSWORD)
    clerk = staff_member("orders.view")
    session = pair_of(clerk)
    run("changepassword", clerk.email, interactive=False)
    assert refresh(session[1]).status_code == 401
    with pytest.raises(CommandError, match="no account"):
        run("changepassword", unique_email(), interactive=False)


def test_the_commands_ask_on_a_terminal_or_read_a_pipe(monkeypatch):
    clerk = staff_member("orders.view")
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(CommandError, match="no terminal"):
        run("createsuperuser", email=unique_email())
    with pytest.raises(CommandError, match="Enter the password"):
        run("changepassword", clerk.email)
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{NEW_PASSWORD}\n{NEW_PASSWORD}\n"))
    run("changepassword", clerk.email)
    assert can_open_admin(sign_in_to_admin(clerk, NEW_PASSWORD))
