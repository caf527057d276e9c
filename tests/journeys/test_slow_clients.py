"""Clients that send their requests slowly, or only a part of them, cost the shop no thread."""

import http.client
import json
import select
import socket
import threading
import time
from contextlib import ExitStack, closing, suppress

import pytest

from tests.concurrency import eventually
from tests.journeys.test_serving import ServedShop, serve
from tests.shop.db.superuser_session import database_name, open_superuser_session
from tests.shopper import ADDRESS, Shopper

SLOW_CLIENTS = 40  # ten times the number of threads
BODY_TIMEOUT_SECONDS = 3
PROMPT_SECONDS = 30.0  # only limits how long a broken test takes
HEAD = "POST /api/v1/carts HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def shop():
    """One worker with four threads."""
    with serve(WEB_WORKERS="1", WEB_THREADS="4", BODY_TIMEOUT_SECONDS=str(BODY_TIMEOUT_SECONDS)) as shop:
        yield shop


@pytest.fixture(scope="module")
def patient_shop():
    """The same with a long time limit: slow clients stay until they close their connections."""
    with serve(WEB_WORKERS="1", WEB_THREADS="4", BODY_TIMEOUT_SECONDS="600") as shop:
        yield shop


def connect(shop: ServedShop, sent: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", shop.port), timeout=60)
    connection.sendall(sent.encode("latin-1"))
    return connection


def read_response(connection: socket.socket) -> tuple[int, dict, bytes]:
    """Return status and body of a response, and what follows until the server closes the connection."""
    response = http.client.HTTPResponse(connection)
    response.begin()
    body = response.read()
    return response.status, json.loads(body), connection.recv(1)


def assert_serves(shop: ServedShop) -> None:
    """Assert that probes, reads and writes are answered."""
    shopper = Shopper(shop.site)
    shopper.timeout = PROMPT_SECONDS
    assert shopper.get("/health").status == 200
    assert shopper.get("/ready").status == 200
    assert shopper.get("categories").status == 200
    assert shopper.send("POST", "carts", {}, Content_Type="application/json").status == 201


UNFINISHED = {
    "half of a body": HEAD + 'Content-Length: 100\r\n\r\n{"email":',
    "no body": HEAD + "Content-Length: 100\r\n\r\n",
    "half of a chunk": HEAD + "Transfer-Encoding: chunked\r\n\r\n20\r\n{",
    "half of a head": HEAD,
}


@pytest.mark.parametrize("sent", UNFINISHED.values(), ids=UNFINISHED)
def test_unfinished_requests_do_not_stop_the_shop(patient_shop, sent):
    with ExitStack() as connections:
        for _ in range(SLOW_CLIENTS):
            connections.enter_context(closing(connect(patient_shop, sent)))
        assert_serves(patient_shop)


@pytest.mark.parametrize("sent", [UNFINISHED["half of a body"], UNFINISHED["no body"]])
def test_a_body_that_does_not_arrive_in_time_is_answered_with_408(shop, sent):
    with closing(connect(shop, sent)) as connection:
        status, problem, rest = read_response(connection)
    assert (status, problem["code"], rest) == (408, "shop.request_timeout", b""), "and the connection is closed"


def test_the_time_limit_is_for_the_whole_body_and_not_for_each_part(shop):
    """Trickle one byte at a time, each in time, until the server has answered."""
    with closing(connect(shop, HEAD + "Content-Length: 1000000\r\n\r\n")) as connection:
        answered = threading.Event()

        def trickle():
            with suppress(OSError):
                while not answered.wait(BODY_TIMEOUT_SECONDS / 30):
                    connection.sendall(b" ")

        sender = threading.Thread(target=trickle)
        began = time.monotonic()
        sender.start()
        try:
            status = http.client.HTTPResponse(connection)
            status.begin()
        finally:
            answered.set()
            sender.join()
    assert status.status == 408
    assert time.monotonic() - began >= BODY_TIMEOUT_SECONDS - 1


def test_an_unfinished_request_is_not_carried_out(shop):
    with closing(connect(shop, HEAD + "Content-Length: 3\r\n\r\n{}")) as connection:  # {} alone would make a cart
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1000).partition(b"\r\n")[0].split()[1:2] in ([], [b"400"])


def test_a_body_above_the_limit_is_refused_before_it_is_sent(shop):
    with closing(connect(shop, HEAD + "Content-Length: 1000001\r\n\r\n")) as connection:
        status, problem, _ = read_response(connection)
    assert (status, problem["code"]) == (413, "shop.too_large")


def test_a_body_without_a_length_is_refused(shop):
    """The end of a chunked body looks like a lost connection, and half a request must not be carried out."""
    with closing(connect(shop, HEAD + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")) as connection:
        response = http.client.HTTPResponse(connection)
        response.begin()
        problem = json.load(response)
    assert (response.status, problem["code"]) == (411, "shop.length_required")


def test_a_body_with_two_lengths_is_refused_and_nothing_after_it_is_read(shop):
    """Bytes after the one length, which are within the other, must not become a request of its own (smuggling)."""
    inner = "GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    for lengths in (
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 0\r\nContent-Length: 5\r\n",
    ):
        with closing(connect(shop, f"{HEAD}{lengths}\r\n0\r\n\r\n{inner}")) as connection:
            answer = b""
            while received := connection.recv(2**16):
                answer += received
        assert answer.split()[1] in (b"400", b"411"), answer
        assert answer.count(b"HTTP/1.1 ") == 1, answer


def test_a_path_and_headers_reach_the_application_as_they_were_sent(shop):
    """Percent-encoded bytes that are no text, repeated headers, and headers with an underscore."""
    head = "GET /api/v1/products/%ff%E2%82%AC?x=%ff HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Odd: \xff\r\nX_Request_ID: forged\r\n\r\n"
    with closing(connect(shop, head)) as connection:
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert response.status == 404
        assert response.headers["X-Request-ID"] != "forged"


def test_a_header_that_is_no_ascii_is_refused_and_not_ignored(shop):
    order = {
        "items": [{"sku": "NONE", "quantity": 1}],
        "email": "someone@example.com",
        "shipping_address": ADDRESS,
        "payment_method": {"provider": "sandbox", "token": "tok_ok"},
    }
    answer = Shopper(shop.site).post("orders", order, Idempotency_Key="é" * 20)
    assert (answer.status, answer.body["code"]) == (400, "shop.idempotency_key_invalid")


def test_a_busy_shop_answers_health_checks(shop):
    """All threads wait for a lock meanwhile, each for 5 s, and many more requests wait for a thread."""
    sent = HEAD + "Content-Length: 2\r\n\r\n{}"
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'orders_cart'::regclass"
    with open_superuser_session(database_name("orders")) as session, ExitStack() as connections:
        session.execute("LOCK TABLE orders_cart IN ACCESS EXCLUSIVE MODE")
        clients = [connections.enter_context(closing(connect(shop, sent))) for _ in range(20)]
        eventually(lambda: session.execute(waiting).fetchone()[0] >= 4)
        shopper = Shopper(shop.site)
        shopper.timeout = PROMPT_SECONDS
        assert shopper.get("/health").status == 200
        answered, _, _ = select.select(clients, [], [], 0)
        assert len(answered) < len(clients) / 2, "the health check has waited for the requests before it"
