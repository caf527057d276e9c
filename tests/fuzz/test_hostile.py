"""Hostile requests: each is refused quickly, without an effect on other clients."""

import gzip
import json
import socket
import subprocess
import time
import uuid
from contextlib import closing

import pytest

from shop.db.database import fetch_rows
from tests.concurrency import eventually
from tests.factories import create_sku
from tests.journeys.running_shop import RunningShop
from tests.shopper import ADDRESS, PASSWORD, InProcessShopper, Shopper

NESTING_DEPTH, ELEMENT_COUNT, DIGIT_COUNT = 100_000, 1_000_000, 10_000
PAYLOADS = {
    "100,000 lists deep": (400, b"[" * NESTING_DEPTH + b"]" * NESTING_DEPTH),
    "100,000 objects deep": (400, b'{"a":' * NESTING_DEPTH + b"1" + b"}" * NESTING_DEPTH),
    "100,000 deep in an unknown field": (400, b'{"x":' + b"[" * NESTING_DEPTH + b"]" * NESTING_DEPTH + b"}"),
    "a million keys": (413, b"{" + b",".join(b'"%d":1' % n for n in range(ELEMENT_COUNT)) + b"}"),
    "as many keys as a body has room for": (
        400,
        (b"{" + b",".join(b'"%d":1' % n for n in range(98_000)) + b"}")[:999_999],
    ),
    "a million items": (400, b'{"items":[' + b"1," * 400_000 + b"1]}"),
    "NaN": (400, b'{"items":[{"sku":"A","quantity":NaN}]}'),
    "Infinity": (400, b'{"items":[{"sku":"A","quantity":-Infinity}]}'),
    "a number of 10,000 digits": (400, b'{"items":[{"sku":"A","quantity":' + b"9" * DIGIT_COUNT + b"}]}"),
    "a number of 10,000 digits in an unknown field": (400, b'{"x":' + b"9" * DIGIT_COUNT + b"}"),
    "a huge exponent": (400, b'{"x":1e' + b"9" * DIGIT_COUNT + b"}"),
    "a lone surrogate": (400, b'{"email":"\\ud800@example.com"}'),
    "backslashes": (400, b'{"email":"' + b"\\\\" * 400_000 + b'"}'),
    "a text that is almost an email address": (400, b'{"email":"' + b"a@" * 400_000 + b'"}'),
    "packed zeros": (400, gzip.compress(b"0" * 50_000_000)),
}


@pytest.mark.parametrize("name", PAYLOADS)
def test_a_hostile_body_costs_less_than_a_tenth_of_a_second(name, in_one_process):
    status, body = PAYLOADS[name]
    shopper, spent = InProcessShopper(), []
    for _ in range(3):
        began = time.thread_time()
        packed = {"Content_Encoding": "gzip"} if name.startswith("packed") else {}
        answer = shopper.post("orders", body, Idempotency_Key=uuid.uuid4().hex, **packed)
        spent.append(time.thread_time() - began)
        assert answer.status == status, answer.body
        assert answer.headers["content-type"] == "application/problem+json"
    assert min(spent) < 0.1


def test_a_repeated_json_name_is_refused():
    """If one of two values were ignored, the shop could price another value than a proxy or the client has read."""
    shopper, sku, key = InProcessShopper(), create_sku(5), uuid.uuid4().hex
    start = '{"email": "guest@example.com", "payment_method": {"provider": "sandbox", "token": "tok_ok"}, '
    start += f'"shipping_address": {json.dumps(ADDRESS)}, "items": [{{"sku": "{sku}", '
    twice, once = start + '"quantity": 1, "quantity": 2}]}', start + '"quantity": 2}]}'
    refused = shopper.post("orders", twice.encode(), Idempotency_Key=key)
    assert (refused.status, refused.body["code"]) == (400, "shop.bad_body")
    assert [(fault["pointer"], fault["code"]) for fault in refused.body["errors"]] == [
        ("/items/0/quantity", "duplicate_member")
    ]
    order = shopper.post("orders", once.encode(), Idempotency_Key=key)
    assert (order.status, order.body["lines"][0]["quantity"]) == (201, 2)


NAME = uuid.uuid4().hex
EQUIVALENT_EMAILS = {
    "composed and decomposed": (f"{NAME}@b\u00fccher.example", f"{NAME}@bu\u0308cher.example"),
    "upper and lower case": (f"{NAME}@case.example", f"{NAME.upper()}@CASE.example"),
    "full width": (f"{NAME}@wide.example", f"{NAME}@\uff57\uff49\uff44\uff45.example"),
    "a ligature": (f"{NAME}@file.example", f"{NAME}@\ufb01le.example"),
    "space around it": (f"{NAME}@space.example", f" {NAME}@space.example\u2003"),
}


@pytest.mark.parametrize("kind", EQUIVALENT_EMAILS)
def test_two_spellings_of_one_address_are_one_account(kind):
    one, other = EQUIVALENT_EMAILS[kind]
    shopper = InProcessShopper()
    account = {"password": PASSWORD, "full_name": "Ada Buyer"}
    assert shopper.post("auth/register", account | {"email": one}).status == 201
    again = shopper.post("auth/register", account | {"email": other})
    assert (again.status, again.body["code"]) == (409, "users.email_taken")
    assert shopper.post("auth/token", {"email": other, "password": PASSWORD}).status == 200
    domain = one.partition("@")[2].replace("u\u0308", "\u00fc")
    stored = fetch_rows("users", "SELECT count(*) FROM users_user WHERE email = %s", [f"{NAME}@{domain}"])
    assert stored == [(1,)]


INVISIBLE_CHARACTERS = ["\u202e", "\u200b", "\u0000", "\u2028", "\r\n", "\t", "\u00a0"]


@pytest.mark.parametrize(
    "character",
    INVISIBLE_CHARACTERS,
    ids=[f"{character.encode('unicode_escape').decode()}" for character in INVISIBLE_CHARACTERS],
)
@pytest.mark.parametrize("place", ["a{}b@example.com", "a@exam{}ple.com"])
def test_an_email_with_invisible_characters_is_refused(place, character):
    body = {"email": place.format(character), "password": PASSWORD, "full_name": "Ada Buyer"}
    assert InProcessShopper().post("auth/register", body).status == 400


@pytest.fixture(scope="module")
def shop():
    """Start a server in a process of its own."""
    with closing(RunningShop()) as shop:
        yield shop


def memory_megabytes(shop: RunningShop) -> float:
    """Return the resident memory of the server's workers in megabytes."""
    processes = subprocess.run(
        ["ps", "-o", "rss=", "--ppid", str(shop.process.pid)], capture_output=True, text=True, check=True
    )
    return sum(map(int, processes.stdout.split())) / 1024


def send_raw(shop: RunningShop, request: bytes) -> str:
    """Send bytes and return the status line of the response. The server may respond before it has read all of them."""
    with socket.create_connection(("127.0.0.1", shop.port), timeout=60) as connection:
        try:
            for start in range(0, len(request), 2**16):
                connection.sendall(request[start : start + 2**16])
        except OSError:
            pass  # it has responded and closed; the response can still be read
        return connection.recv(2**12).decode().partition("\r\n")[0]


HEAD = b"%s HTTP/1.1\r\nHost: 127.0.0.1\r\n"
GET, POST = HEAD % b"GET /api/v1/products", HEAD % b"POST /api/v1/orders"
OVERSIZED = {
    "a header of 10 MB": (GET + b"X-Long: " + b"a" * 10_000_000 + b"\r\n\r\n", 431),
    "100,000 headers": (GET + b"".join(b"X-%d: a\r\n" % n for n in range(100_000)) + b"\r\n", 431),
    "an address of 1 MB": (HEAD % (b"GET /api/v1/products?search=" + b"a" * 1_000_000) + b"\r\n", 431),
    "a body of 100 MB": (POST + b"Content-Length: 100000000\r\n\r\n" + b"x" * 100_000_000, 413),
    "a huge content length": (POST + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n", 400),
    "a negative content length": (POST + b"Content-Length: -1\r\n\r\n", 400),
    "no HTTP at all": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
}


@pytest.mark.parametrize("name", OVERSIZED)
def test_oversized_and_malformed_requests_are_refused_without_buffering(shop, name):
    request, status = OVERSIZED[name]
    before = memory_megabytes(shop)
    assert send_raw(shop, request).split(" ")[1] == str(status)
    assert memory_megabytes(shop) < before + 50
    assert Shopper(shop.site).get("/health").status == 200


def test_200_unfinished_requests_do_not_block_other_clients(shop):
    slow = [socket.create_connection(("127.0.0.1", shop.port)) for _ in range(200)]
    try:
        for connection in slow:
            connection.sendall(b"GET /api/v1/products HTTP/1.1\r\nHost: 127")
        assert eventually(lambda: Shopper(shop.site).get("products").status == 200)
    finally:
        for connection in slow:
            connection.close()
