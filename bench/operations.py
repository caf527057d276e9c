"""The operations of a client, as generators that yield requests and receive the bodies of the responses."""

import json
import random
import uuid
from collections.abc import Callable, Generator
from typing import NamedTuple

CATEGORIES = 4
VARIANTS = 3
LINES = 3
CART_ITEMS = 5
UNITS = 1_000_000  # stock of each SKU, so that nothing sells out
ADDRESS = {"name": "Ada Buyer", "line1": "1 Main Street", "city": "Berlin", "postal_code": "10115", "country": "DE"}


class Request(NamedTuple):
    """A request, and the status and text of a correct response. It is not counted if it only prepares others."""

    data: bytes
    status: int
    contains: bytes
    counted: bool = True


Script = Generator[Request, bytes, None]


def _request(method: str, path: str, body: object = None, key: str = "") -> bytes:
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
    """Return the search word of a product; twenty products share one, whatever the size of the catalogue."""
    return f"motif{product // 20}"


def listing(products: int, rng: random.Random) -> Script:
    """Get the newest twenty products of a category."""
    pages = [_request("GET", f"/api/v1/products?category=shelf-{n}") for n in range(CATEGORIES)]
    while True:
        yield Request(rng.choice(pages), 200, b'"available"')


def detail(products: int, rng: random.Random) -> Script:
    """Get one product."""
    while True:
        slug = f"product-{rng.randrange(products)}"
        yield Request(_request("GET", f"/api/v1/products/{slug}"), 200, f'"{slug}"'.encode())


def search(products: int, rng: random.Random) -> Script:
    """Search for a word that twenty products have."""
    while True:
        text = word(rng.randrange(products))
        yield Request(_request("GET", f"/api/v1/products?search={text}"), 200, text.encode())


def cart(products: int, rng: random.Random) -> Script:
    """Set the quantity of one of five SKUs in a cart."""
    cart_body = yield Request(_request("POST", "/api/v1/carts", {}), 201, b'"id"', counted=False)
    path = f"/api/v1/carts/{json.loads(cart_body)['id']}/items/"
    skus = [sku(product, 0) for product in rng.sample(range(products), CART_ITEMS)]
    while True:
        chosen = rng.choice(skus)
        yield Request(_request("PUT", path + chosen, {"quantity": rng.randint(1, 9)}), 200, chosen.encode())


def orders(products: int, rng: random.Random) -> Script:
    """Order one unit of each of three SKUs, and pay."""
    while True:
        items = [{"sku": sku(p, rng.randrange(VARIANTS)), "quantity": 1} for p in rng.sample(range(products), LINES)]
        order = {
            "items": items,
            "email": "guest@example.com",
            "shipping_address": ADDRESS,
            "payment_method": {"provider": "sandbox", "token": "tok_ok"},
        }
        key = str(uuid.UUID(int=rng.getrandbits(128), version=4))
        yield Request(_request("POST", "/api/v1/orders", order, key), 201, b'"confirmed"')


READS = ("list", "detail", "search")
OPERATIONS: dict[str, Callable[[int, random.Random], Script]] = {
    "list": listing, "detail": detail, "search": search, "cart": cart, "orders": orders,
}  # fmt: skip
