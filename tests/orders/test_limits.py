"""The limits of carts and orders are settings, and a request is the same request in the next release."""

import json
import os
import subprocess
import sys

import msgspec
from django.conf import settings

from contexts.orders.service.carts import CartFull
from contexts.orders.service.placing import OrderRequest
from tests.shopper import ADDRESS

SHOW_LIMITS = """
import json, django
django.setup()
from django.test import Client
from contexts.orders.service.carts import CartFull
client = Client(SERVER_NAME="127.0.0.1", headers={"Accept": "application/json"})
document = client.get("/api/schema?format=json").json()["components"]["schemas"]
items = next(part for part in document["PlaceOrder"]["properties"]["items"]["anyOf"] if part.get("type") == "array")
print(json.dumps([
    items["maxItems"],
    document["Item"]["properties"]["quantity"]["maximum"],
    document["ItemQuantity"]["properties"]["quantity"]["maximum"],
    CartFull.most,
]))
"""


def test_the_limits_are_settings_and_shown_in_the_document():
    limits = {"MAX_ORDER_LINES": "5", "MAX_ITEM_QUANTITY": "7", "MAX_CART_ITEMS": "3"}
    environment = os.environ | limits | {"DJANGO_SETTINGS_MODULE": "config.settings"}
    shown = subprocess.run(
        [sys.executable, "-c", SHOW_LIMITS],
        env=environment, cwd=settings.BASE_DIR, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout.splitlines()[-1]) == [5, 7, 7, 3]


def test_the_defaults_are_documented():
    documented = (settings.BASE_DIR / ".env.example").read_text()
    for name in ("MAX_ORDER_LINES", "MAX_ITEM_QUANTITY", "MAX_CART_ITEMS"):
        assert f"#{name}={getattr(settings, name)}\n" in documented
    assert CartFull.most == settings.MAX_CART_ITEMS


def test_a_new_member_of_an_order_does_not_change_the_fingerprint_of_a_request_without_it():
    """A client may repeat its request with the same key after an upgrade: the hash of what is encoded has to stay."""
    body = {
        "items": [{"sku": "MUG", "quantity": 1}],
        "email": "guest@example.com",
        "shipping_address": ADDRESS,
        "payment_method": {"provider": "sandbox", "token": "tok_ok"},
    }
    encoded = msgspec.json.encode(msgspec.convert(body, OrderRequest), order="deterministic")
    assert encoded == (
        b'{"cart_id":null,"items":[{"sku":"MUG","quantity":1}],"email":"guest@example.com","shipping_address":'
        b'{"name":"Ada Buyer","line1":"1 Main Street","line2":"","city":"Berlin","postal_code":"10115","region":"",'
        b'"country":"DE"},"billing_address":null,"payment_method":{"provider":"sandbox","token":"tok_ok"}}'
    )
