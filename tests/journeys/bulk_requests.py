"""Many requests at the same time on raw connections: who is answered, and how."""

import http.client
import json
import select
import socket

from tests.journeys.test_serving import ServedShop
from tests.journeys.test_slow_clients import connect

OVERLOADED = (503, "1", "shop.overloaded")


def send_post(shop: ServedShop, path: str, body: object, **headers: str) -> socket.socket:
    """Send a request and return its connection; `read_answer` waits for the response."""
    content = json.dumps(body)
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return connect(shop, "\r\n".join([*lines, f"Content-Length: {len(content)}", "", content]))


def read_answer(connection: socket.socket) -> tuple[int, str | None, str]:
    """Return status, Retry-After and error code of a response."""
    response = http.client.HTTPResponse(connection)
    response.begin()
    return response.status, response.headers["Retry-After"], json.loads(response.read()).get("code", "")


def count_answered(connections: list[socket.socket]) -> int:
    return len(select.select(connections, [], [], 0)[0])
