"""Registrations in bulk: a few passwords are hashed at a time, others wait apart from the rest, and more are refused."""

import http.client
import json
import select
import socket
from contextlib import ExitStack, closing
from uuid import uuid4

from tests.concurrency import eventually
from tests.journeys.gated_hasher import GATE, GatedHasher
from tests.journeys.test_serving import ServedShop, serve
from tests.journeys.test_slow_clients import assert_serves, connect
from tests.shopper import Shopper

REQUESTS, THREADS, QUEUE = 40, 2, 5
SETTINGS = {
    "WEB_WORKERS": "1", "WEB_THREADS": "4", "PASSWORD_HASHING_THREADS": str(THREADS), "PASSWORD_HASHING_QUEUE": str(QUEUE),
    "PASSWORD_HASHERS": f"{GatedHasher.__module__}.{GatedHasher.__name__}",
}  # fmt: skip


def build_account() -> dict[str, str]:
    return {"email": f"{uuid4().hex}@example.com", "password": "a walk in the orchard", "full_name": "Ada"}


def send_registration(shop: ServedShop, account: dict[str, str]) -> socket.socket:
    body = json.dumps(account)
    head = "POST /api/v1/auth/register HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return connect(shop, f"{head}Content-Length: {len(body)}\r\n\r\n{body}")


def read_answer(connection: socket.socket) -> tuple[int, str | None, str]:
    """Return status, Retry-After and error code of a response."""
    response = http.client.HTTPResponse(connection)
    response.begin()
    return response.status, response.headers["Retry-After"], json.loads(response.read()).get("code", "")


def count_answered(connections: list[socket.socket]) -> int:
    return len(select.select(connections, [], [], 0)[0])


def test_registrations_in_bulk_are_refused_beyond_their_queue_and_take_no_threads_of_others(tmp_path):
    gate = tmp_path / "gate"
    gate.touch()
    accounts = [build_account() for _ in range(REQUESTS)]
    with serve(**SETTINGS, **{GATE: str(gate)}) as shop, ExitStack() as stack:
        sent = [stack.enter_context(closing(send_registration(shop, account))) for account in accounts]
        eventually(lambda: count_answered(sent) == REQUESTS - THREADS - QUEUE)
        assert_serves(shop)
        assert count_answered(sent) == REQUESTS - THREADS - QUEUE
        gate.unlink()
        answers = [read_answer(connection) for connection in sent]
        assert answers.count((201, None, "")) == THREADS + QUEUE
        assert answers.count((503, "1", "shop.overloaded")) == REQUESTS - THREADS - QUEUE
        refused = accounts[answers.index((503, "1", "shop.overloaded"))]
        repeated = Shopper(shop.site).send("POST", "auth/register", refused, Content_Type="application/json")
        assert repeated.status == 201, "nothing was stored for the refused request"
