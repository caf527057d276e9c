"""An address that anybody registered before it became one of staff: its password and sessions are worth nothing then."""

import io
import re
import subprocess
import sys

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from contexts.users.service import sessions
from shop.db.database import fetch_rows
from tests.admin_forms import open_form, send_form
from tests.users.accounts import PASSWORD, Person, refresh, register_person, sign_in, unique_email
from tests.users.accounts import issue_tokens as pair_of
from tests.users.test_staff import LIST, can_open_admin, create_staff, permissions_of, sign_in_to_admin, staff_member

NEW_PASSWORD = "mandarins-are-orange-7"

pytestmark = pytest.mark.usefixtures("verified")


def read_password(text: str) -> str:
    [password] = re.findall(r"password(?: is now)?: (\S+)", text)
    return password


def assert_lost(squatter: Person, refresh_token: str) -> None:
    """Check that neither the password nor the session of the account's first owner works."""
    assert sign_in(squatter).status_code == 401
    assert refresh(refresh_token).status_code == 401
    assert not can_open_admin(sign_in_to_admin(squatter))


def test_the_command_refuses_an_existing_account_without_a_flag():
    squatter = register_person()
    _, token = pair_of(squatter)
    with pytest.raises(CommandError, match="--existing"):
        create_staff(email=squatter.email.upper(), permissions="*")
    assert permissions_of(squatter) == []
    assert refresh(token).status_code == 200


def test_the_command_leaves_a_squatter_neither_password_nor_sessions():
    squatter = register_person()
    _, token = pair_of(squatter)
    output = create_staff(email=squatter.email, permissions="*", existing=True)
    assert_lost(squatter, token)
    assert can_open_admin(sign_in_to_admin(squatter, read_password(output)))


def test_a_customer_who_is_made_staff_in_the_admin_gets_a_new_password_and_loses_all_sessions():
    squatter = register_person()
    _, token = pair_of(squatter)
    client, path = sign_in_to_admin(staff_member()), f"{LIST}{squatter.id}/change/"
    page = send_form(client, path, open_form(client, path), permissions="orders.view")
    assert permissions_of(squatter) == ["orders.view"]
    assert_lost(squatter, token)
    password = read_password(page)
    assert can_open_admin(sign_in_to_admin(squatter, password))
    page = send_form(client, path, open_form(client, path), permissions="orders.view,orders.change")
    assert "password is now" not in page
    assert can_open_admin(sign_in_to_admin(squatter, password))


def test_createsuperuser_does_not_appoint_a_squatter(monkeypatch):
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", NEW_PASSWORD)
    squatter = register_person()
    with pytest.raises(CommandError, match="already exists"):
        call_command("createsuperuser", email=squatter.email, interactive=False)
    assert permissions_of(squatter) == []


def test_a_sign_in_that_began_before_the_new_password_starts_no_session():
    squatter = register_person()
    user = sessions.User.objects.get(id=squatter.id)
    create_staff(email=squatter.email, permissions="*", existing=True)
    with pytest.raises(sessions.SignInFailed):
        sessions.start_session(user)
    sql = "SELECT count(*) FROM users_tokenfamily WHERE user_id = %s AND NOT revoked"
    assert fetch_rows("users", sql, [squatter.id]) == [(0,)]


@pytest.mark.parametrize("arguments", [("--password", PASSWORD), (f"--password={PASSWORD}",), ("--passwor", PASSWORD)])
def test_a_password_on_the_command_line_is_refused(arguments):
    email = unique_email()
    with pytest.raises(CommandError, match=r"can be read by others|ambiguous option"):
        call_command("create_staff", "--email", email, *arguments)
    assert fetch_rows("users", "SELECT 1 FROM users_user WHERE email = %s", [email]) == []


def test_the_command_reads_a_password_from_the_standard_input_or_the_environment(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{NEW_PASSWORD}\n"))
    piped, inherited = unique_email(), unique_email()
    assert NEW_PASSWORD not in create_staff(email=piped, password_stdin=True)
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", NEW_PASSWORD)
    assert NEW_PASSWORD not in create_staff(email=inherited)
    for email in (piped, inherited):
        assert can_open_admin(sign_in_to_admin(Person(id=None, email=email), NEW_PASSWORD))


def test_the_help_of_the_command_does_not_offer_a_password_on_the_command_line():
    manage = settings.BASE_DIR / "manage.py"
    run = subprocess.run([sys.executable, manage, "create_staff", "--help"], capture_output=True, text=True, check=True)
    assert "--password-stdin" in run.stdout and "--existing" in run.stdout
    assert "refused" in run.stdout
