"""Accounts and the requests they send to the API of users."""

import secrets
import uuid
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

from django.http import HttpResponse

from tests.http_client import Client

PASSWORD = "a walk in the orchard"


@dataclass(frozen=True)
class Person:
    """An account with its credentials."""

    id: uuid.UUID
    email: str
    password: str = PASSWORD


def unique_email() -> str:
    return f"{uuid.uuid4().hex}@example.com"


def unique_ip_address() -> str:
    """Return a client address that no other test uses, so that its attempts are counted separately."""
    return str(IPv4Address(10 * 2**24 + secrets.randbelow(2**24)))


def send(method: str, path: str, body: Any = None, *, token: str = "", **headers: str) -> HttpResponse:
    """Send a request with a JSON body, or with these bytes, and a bearer token."""
    content = {} if body is None else {"data": body, "content_type": "application/json"}
    if token:
        headers["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    return getattr(Client(), method)(f"/api/v1/{path}", **content, **headers)


def post(path: str, body: Any = None, **options: Any) -> HttpResponse:
    return send("post", path, body, **options)


def register(**changes: Any) -> HttpResponse:
    return post("auth/register", {"email": unique_email(), "password": PASSWORD, "full_name": "Mina Orange", **changes})


def register_person(**changes: Any) -> Person:
    """Register a new account."""
    response = register(**changes)
    assert response.status_code == 201, response.content
    return Person(id=uuid.UUID(response.json()["id"]), email=response.json()["email"])


def sign_in(person: Person, password: str = PASSWORD, **options: Any) -> HttpResponse:
    return post("auth/token", {"email": person.email, "password": password}, **options)


def issue_tokens(person: Person) -> tuple[str, str]:
    """Sign in and return an access and a refresh token."""
    response = sign_in(person)
    assert response.status_code == 200, response.content
    return response.json()["access"], response.json()["refresh"]


def refresh(token: str) -> HttpResponse:
    return post("auth/token/refresh", {"refresh": token})


def problem_of(response: HttpResponse) -> tuple[int, str]:
    """Return status and code of a problem response."""
    assert response.headers["Content-Type"] == "application/problem+json"
    return response.status_code, response.json()["code"]
