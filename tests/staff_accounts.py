"""Staff with accounts, signed in as in production: users knows their sessions."""

from uuid import UUID

from django.conf import settings

from config.admin_site import SESSION_TOKEN_KEY
from contexts.users.interface import users
from contexts.users.service import staff
from tests.http_client import Client
from tests.shopper import PASSWORD, InProcessShopper


def email_of(*permissions: str) -> str:
    """Return the e-mail address of the staff with these permissions."""
    name = "-".join(sorted(permissions)).replace(".", "_").replace("*", "all")
    return f"{name or 'customer'}@staff.example"


def find_account(*permissions: str) -> str:
    """Return the e-mail address of the account with these permissions, which can sign in.

    It is created unless it exists, and restored if another test has disabled it or changed its permissions.
    """
    email, actor = email_of(*permissions), staff.as_operator("tests")
    account = staff.find_account(email)
    if account is None:
        staff.create(email=email, password=PASSWORD, permissions=[*permissions], actor=actor)
    elif not account.is_active or account.permissions != sorted({*permissions}):
        staff.take_over(account.id, permissions=[*permissions], password=PASSWORD, is_enabled=True, actor=actor)
    return email


def sign_access_token(*permissions: str) -> str:
    """Sign in to the API, and return the access token."""
    account = {"email": find_account(*permissions), "password": PASSWORD}
    token: str = InProcessShopper().post("auth/token", account).body["access"]
    return token


def sign_in_to_admin(*permissions: str) -> Client:
    """Return a client that is signed in to the admin."""
    return build_admin_client(users.sign_in_staff(email=find_account(*permissions), password=PASSWORD).token)


def build_admin_client(token: str) -> Client:
    """Return a client whose session has this staff token."""
    client = Client()
    session = client.session
    session[SESSION_TOKEN_KEY] = token
    session.save()
    client.cookies[settings.SESSION_COOKIE_NAME] = session.session_key
    return client


def id_of(*permissions: str) -> UUID:
    """Return the id of the account with these permissions."""
    found = staff.find_account(find_account(*permissions))
    assert found is not None
    return found.id
