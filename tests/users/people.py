"""People and how they call: over HTTP, one after the other or all at once."""

import secrets
import uuid
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

from django.http import HttpResponse

from tests.browser import Client

PASSWORD = "a walk in the orchard"


@dataclass(frozen=True)
class Person:
    """An account and what it takes to sign in."""

    id: uuid.UUID
    email: str
    password: str = PASSWORD


def fresh_email() -> str:
    return f"{uuid.uuid4().hex}@example.com"


def fresh_address() -> str:
    """A client's address that no other test counts against."""
    return str(IPv4Address(10 * 2**24 + secrets.randbelow(2**24)))


def send(method: str, path: str, body: Any = None, *, token: str = "", **headers: str) -> HttpResponse:
    """A request with a JSON body (or with these bytes) and a bearer token."""
    content = {} if body is None else {"data": body, "content_type": "application/json"}
    if token:
        headers["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    return getattr(Client(), method)(f"/api/v1/{path}", **content, **headers)


def post(path: str, body: Any = None, **options: Any) -> HttpResponse:
    return send("post", path, body, **options)


def register(**changes: Any) -> HttpResponse:
    return post("auth/register", {"email": fresh_email(), "password": PASSWORD, "full_name": "Mina Orange", **changes})


def somebody(**changes: Any) -> Person:
    """A registered person."""
    answer = register(**changes)
    assert answer.status_code == 201, answer.content
    return Person(id=uuid.UUID(answer.json()["id"]), email=answer.json()["email"])


def sign_in(person: Person, password: str = PASSWORD, **options: Any) -> HttpResponse:
    return post("auth/token", {"email": person.email, "password": password}, **options)


def tokens(person: Person) -> tuple[str, str]:
    """An access and a refresh token."""
    answer = sign_in(person)
    assert answer.status_code == 200, answer.content
    return answer.json()["access"], answer.json()["refresh"]


def refresh(token: str) -> HttpResponse:
    return post("auth/token/refresh", {"refresh": token})


def code(answer: HttpResponse) -> tuple[int, str]:
    """What a problem says to a program."""
    assert answer.headers["Content-Type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]
