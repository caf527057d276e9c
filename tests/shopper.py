"""Somebody who uses the shop through its API, and nothing else: over HTTP, or in process where a test holds the strings."""

import http.client
import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tests.browser import Client, Handler

ADDRESS = {"name": "Ada Buyer", "line1": "1 Main Street", "city": "Berlin", "postal_code": "10115", "country": "DE"}
PASSWORD = "correct horse battery"
PATIENCE = 10.0  # seconds for what happens after the answer


@dataclass
class Answer:
    """What came back."""

    status: int
    body: Any
    headers: dict[str, str]
    content: bytes


def answer(status: int, headers: Iterable[tuple[str, str]], content: bytes) -> Answer:
    named = {name.lower(): value for name, value in headers}
    decoded = json.loads(content) if content and "json" in named.get("content-type", "") else None
    return Answer(status, decoded, named, content)


class Shopper:
    """A client of one address; signed in once `token` is set."""

    def __init__(self, site: str) -> None:
        self.site = site
        self.token = ""
        self.timeout = 30.0  # seconds that it waits for an answer

    def another(self) -> "Shopper":
        """Somebody else at the same shop."""
        return Shopper(self.site)

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """One request on a connection of its own; names of headers with `_` for `-`."""
        parts = urlsplit(self.site)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=self.timeout)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.token:
            sent["Authorization"] = f"Bearer {self.token}"
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        try:
            connection.request(method, path if path.startswith("/") else f"/api/v1/{path}", content, sent)
            response = connection.getresponse()
            data = response.read()
        finally:
            connection.close()
        return answer(response.status, response.getheaders(), data)

    def get(self, path: str, **headers: str) -> Answer:
        return self.send("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        return self.send("POST", path, body, **headers)

    def register(self) -> str:
        """Open an account and sign in; its e-mail address."""
        email = f"{uuid.uuid4().hex}@example.com"
        self.post("auth/register", {"email": email, "password": PASSWORD, "full_name": "Ada Buyer"})
        self.token = self.post("auth/token", {"email": email, "password": PASSWORD}).body["access"]
        return email

    def order(self, *skus: str, token: str = "tok_ok", key: str = "", **changes: Any) -> Answer:
        """Order one unit of each SKU."""
        wish = {
            "items": [{"sku": sku, "quantity": 1} for sku in skus],
            "email": "guest@example.com",
            "shipping_address": ADDRESS,
            "payment_method": {"provider": "sandbox", "token": token},
        }
        return self.post("orders", wish | changes, Idempotency_Key=key or uuid.uuid4().hex)

    def look_at(self, order: dict[str, Any]) -> dict[str, Any]:
        """The order as it is now."""
        return self.get(f"orders/{order['id']}", X_Order_Token=order.get("token") or "").body


class InProcess(Shopper):
    """The same through Django's test client: the engine and the timers are the test's to run.

    Where the suite runs in five processes, the one that hosts what is asked for answers, over HTTP.
    """

    handler = Handler(enforce_csrf_checks=False)  # one for all, for it loads the middleware once

    def __init__(self) -> None:
        super().__init__("")

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.token:
            sent["Authorization"] = f"Bearer {self.token}"
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        address = path if path.startswith("/") else f"/api/v1/{path}"
        client = Client(raise_request_exception=False)
        client.handler = self.handler
        response = client.generic(method, address, content or b"", "application/json", headers=sent)
        return answer(response.status_code, response.headers.items(), response.content)
