"""What a client does, as a script: it yields requests and is sent the bodies of their answers."""

import json
import random
import uuid
from collections.abc import Callable, Generator
from typing import Any, NamedTuple

CATEGORIES = 4
VARIANTS = 3
LINES = 3
CART_ITEMS = 5
UNITS = 1_000_000  # on the shelf of each SKU: nothing sells out
ADDRESS = {"name": "Ada Buyer", "line1": "1 Main Street", "city": "Berlin", "postal_code": "10115", "country": "DE"}


class Request(NamedTuple):
    """One request, and what a right answer to it has. Not counted: it only prepares the others."""

    data: bytes
    status: int
    contains: bytes
    counted: bool = True


Script = Generator[Request, bytes, None]


def _request(method: str, path: str, body: Any = None, key: str = "") -> bytes:
    content = b"" if body is None else json.dumps(body, separators=(",", ":")).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    if body is not None:
        head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
    if key:
        head += f"Idempotency-Key: {key}\r\n"
    return f"{head}\r\n".encode() + content


def sku(product: int, variant: int) -> str:
    return f"B-{product:06}-{variant}"


def word(product: int) -> str:
    """Twenty products share a word, whatever the size of the catalogue."""
    return f"motif{product // 20}"


def listing(products: int, dice: random.Random) -> Script:
    """The newest twenty products of a category."""
    pages = [_request("GET", f"/api/v1/products?category=shelf-{n}") for n in range(CATEGORIES)]
    while True:
        yield Request(dice.choice(pages), 200, b'"available"')


def detail(products: int, dice: random.Random) -> Script:
    """One product."""
    while True:
        slug = f"product-{dice.randrange(products)}"
        yield Request(_request("GET", f"/api/v1/products/{slug}"), 200, f'"{slug}"'.encode())


def search(products: int, dice: random.Random) -> Script:
    """The twenty products that a word finds."""
    while True:
        found = word(dice.randrange(products))
        yield Request(_request("GET", f"/api/v1/products?search={found}"), 200, found.encode())


def cart(products: int, dice: random.Random) -> Script:
    """Put one of five SKUs into a cart of one's own."""
    opened = yield Request(_request("POST", "/api/v1/carts", {}), 201, b'"id"', counted=False)
    path = f"/api/v1/carts/{json.loads(opened)['id']}/items/"
    skus = [sku(product, 0) for product in dice.sample(range(products), CART_ITEMS)]
    while True:
        chosen = dice.choice(skus)
        yield Request(_request("PUT", path + chosen, {"quantity": dice.randint(1, 9)}), 200, chosen.encode())


def orders(products: int, dice: random.Random) -> Script:
    """Order one unit of each of three SKUs, and pay."""
    while True:
        items = [{"sku": sku(p, dice.randrange(VARIANTS)), "quantity": 1} for p in dice.sample(range(products), LINES)]
        wish = {
            "items": items,
            "email": "guest@example.com",
            "shipping_address": ADDRESS,
            "payment_method": {"provider": "sandbox", "token": "tok_ok"},
        }
        key = str(uuid.UUID(int=dice.getrandbits(128), version=4))
        yield Request(_request("POST", "/api/v1/orders", wish, key), 201, b'"confirmed"')


READS = ("list", "detail", "search")
OPERATIONS: dict[str, Callable[[int, random.Random], Script]] = {
    "list": listing, "detail": detail, "search": search, "cart": cart, "orders": orders,
}  # fmt: skip
