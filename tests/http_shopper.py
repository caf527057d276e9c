"""A client of the REST API over HTTP. It needs no settings, so it also buys from shops that are installed elsewhere."""

import http.client
import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

ADDRESS = {"name": "Ada Buyer", "line1": "1 Main Street", "city": "Berlin", "postal_code": "10115", "country": "DE"}
PASSWORD = "correct horse battery"


@dataclass
class Response:
    """The response to a request, with decoded JSON."""

    status: int
    body: Any
    headers: dict[str, str]
    content: bytes


def parse_response(status: int, headers: Iterable[tuple[str, str]], content: bytes) -> Response:
    named = {name.lower(): value for name, value in headers}
    decoded = json.loads(content) if content and "json" in named.get("content-type", "") else None
    return Response(status, decoded, named, content)


class Shopper:
    """A client of one address. It is signed in when `token` is set."""

    def __init__(self, site: str) -> None:
        self.site = site
        self.token = ""
        self.timeout = 30.0  # seconds

    def new_client(self) -> "Shopper":
        """Return another client of the same shop, not signed in."""
        return Shopper(self.site)

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Response:
        """Send a request on a new connection. The names of headers have `_` for `-`."""
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
        return parse_response(response.status, response.getheaders(), data)

    def get(self, path: str, **headers: str) -> Response:
        return self.send("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Response:
        return self.send("POST", path, body, **headers)

    def register(self) -> str:
        """Open an account, sign in, and return its email address."""
        email = f"{uuid.uuid4().hex}@example.com"
        self.post("auth/register", {"email": email, "password": PASSWORD, "full_name": "Ada Buyer"})
        self.token = self.post("auth/token", {"email": email, "password": PASSWORD}).body["access"]
        return email

    def order(self, *skus: str, token: str = "tok_ok", key: str = "", **changes: Any) -> Response:
        """Order one unit of each SKU."""
        body = {
            "items": [{"sku": sku, "quantity": 1} for sku in skus],
            "email": "guest@example.com",
            "shipping_address": ADDRESS,
            "payment_method": {"provider": "sandbox", "token": token},
        }
        return self.post("orders", body | changes, Idempotency_Key=key or uuid.uuid4().hex)

    def get_order(self, order: dict[str, Any]) -> dict[str, Any]:
        """Return the current state of an order."""
        return self.get(f"orders/{order['id']}", X_Order_Token=order.get("token") or "").body
