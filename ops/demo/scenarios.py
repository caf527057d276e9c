"""Scenarios of customers: each places one order and declares how the order may end."""

import random
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from ops.demo.client import Client, Json, UnexpectedResponse

ADDRESS = {"name": "Ada Buyer", "line1": "1 Main Street", "city": "Berlin", "postal_code": "10115", "country": "DE"}
OVERSIZED_QUANTITY = 10_000  # the highest quantity that one order line may have
TOKEN_REUSE_SECONDS = 240.0  # how long an access token is used; it is valid for 300


@dataclass
class PlacedOrder:
    """An order that a customer placed, and the response to it."""

    scenario: "Scenario"
    status: int
    body: dict[str, Json]
    seconds: float
    token: str  # the access token that it was placed with, empty for a guest

    @property
    def id(self) -> str:
        return str(self.body["id"])

    @property
    def is_accepted(self) -> bool:
        return self.status in (201, 202)


class Customer:
    """A customer with one connection who places order after order."""

    def __init__(self, client: Client, skus: list[str], rng: random.Random) -> None:
        self.client, self.skus, self.rng = client, skus, rng
        self.email, self.password, self.signed_in_at = "", uuid.uuid4().hex, -TOKEN_REUSE_SECONDS
        self.token = ""

    def choose_items(self, maximum: int) -> list[dict[str, str | int]]:
        """Choose up to `maximum` different SKUs, one or two units of each."""
        skus = self.rng.sample(self.skus, min(len(self.skus), self.rng.randint(1, maximum)))
        return [{"sku": sku, "quantity": self.rng.randint(1, 2)} for sku in skus]

    def order(self, scenario: "Scenario", **request: Json) -> PlacedOrder:
        """Place an order. Raises UnexpectedResponse."""
        payment = {"provider": "sandbox", "token": scenario.payment_token}
        request |= {"shipping_address": ADDRESS, "payment_method": payment}
        started_at = time.monotonic()
        status, body = self.client.send("POST", "orders", request)
        seconds = time.monotonic() - started_at
        if status not in (201, 202, 402, 409) or not isinstance(body, dict):
            raise UnexpectedResponse(f"POST /api/v1/orders returned {status}: {describe_problem(body)}")
        return PlacedOrder(scenario, status, body, seconds, self.client.token)

    def send_expecting(
        self, expected: tuple[int, ...], method: str, path: str, body: Json = None, **headers: str
    ) -> Json:
        """Send a request and return the body of the response. Raises UnexpectedResponse for another status."""
        status, response = self.client.send(method, path, body, **headers)
        if status not in expected:
            raise UnexpectedResponse(f"{method} {path} returned {status}: {describe_problem(response)}")
        return response

    def sign_in(self) -> None:
        """Sign in; register an account the first time, and get a new token when the last one is about to expire."""
        if time.monotonic() - self.signed_in_at > TOKEN_REUSE_SECONDS:
            if not self.email:
                self.email = generate_email()
                account = {"email": self.email, "password": self.password, "full_name": "Ada Buyer"}
                self.send_expecting((201,), "POST", "auth/register", account)
            credentials = {"email": self.email, "password": self.password}
            self.token = self.send_expecting((200,), "POST", "auth/token", credentials)["access"]
            self.signed_in_at = time.monotonic()
        self.client.token = self.token

    def get_order_status(self, placed: PlacedOrder) -> str:
        """Return the current status of an order that any customer placed."""
        self.client.token = placed.token
        headers = {"X_Order_Token": placed.body["token"]} if placed.body["token"] else {}
        return str(self.send_expecting((200,), "GET", f"orders/{placed.id}", **headers)["status"])


def describe_problem(body: Json) -> str:
    """Return the detail of a problem response (RFC 9457)."""
    return str(body.get("detail", body))[:200] if isinstance(body, dict) else "no readable body"


def generate_email() -> str:
    return f"demo-{uuid.uuid4().hex[:12]}@example.com"


@dataclass(frozen=True)
class Scenario:
    """The actions of a customer, and the outcomes that the order may have."""

    name: str
    run: Callable[[Customer, "Scenario"], PlacedOrder]
    payment_token: str = "tok_ok"
    expected_outcomes: frozenset[str] = frozenset({"confirmed", "out of stock"})


def order_as_guest(customer: Customer, scenario: Scenario) -> PlacedOrder:
    return customer.order(scenario, email=generate_email(), items=customer.choose_items(3))


def order_with_account(customer: Customer, scenario: Scenario) -> PlacedOrder:
    """Sign in, fill a cart item by item, and place an order for it."""
    customer.sign_in()
    cart = customer.send_expecting((201,), "POST", "carts")["id"]
    for item in customer.choose_items(4):
        customer.send_expecting((200,), "PUT", f"carts/{cart}/items/{item['sku']}", {"quantity": item["quantity"]})
    placed = customer.order(scenario, cart_id=cart)
    customer.client.token = ""
    return placed


def order_with_approval(customer: Customer, scenario: Scenario) -> PlacedOrder:
    """Place an order whose card needs approval (3-D Secure), and approve or decline it on the sandbox's page."""
    placed = order_as_guest(customer, scenario)
    if placed.status == 202:
        page = urlsplit(placed.body["payment"]["action"]["url"]).path
        decision = "decline" if "declined" in scenario.expected_outcomes else "approve"
        customer.send_expecting((200,), "POST", page.replace("/approve", f"/{decision}"))
    return placed


def order_more_than_stock(customer: Customer, scenario: Scenario) -> PlacedOrder:
    items = [{"sku": customer.skus[0], "quantity": OVERSIZED_QUANTITY}]
    return customer.order(scenario, email=generate_email(), items=items)


def order_and_cancel(customer: Customer, scenario: Scenario) -> PlacedOrder:
    placed = order_as_guest(customer, scenario)
    if placed.is_accepted:
        customer.send_expecting((200, 202), "POST", f"orders/{placed.id}/cancel", X_Order_Token=placed.body["token"])
    return placed


def _outcomes(*names: str) -> frozenset[str]:
    return frozenset({*names, "out of stock"})


SCENARIOS = (
    *[Scenario("guest", order_as_guest)] * 7,
    *[Scenario("customer with a cart", order_with_account)] * 4,
    *[Scenario("card declined", order_as_guest, "tok_declined", _outcomes("declined"))] * 2,
    *[Scenario("card needs approval", order_with_approval, "tok_requires_action")] * 2,
    Scenario("approval declined", order_with_approval, "tok_requires_action", _outcomes("declined")),
    Scenario("provider slow", order_as_guest, "tok_timeout_then_ok"),
    Scenario("more than in stock", order_more_than_stock, expected_outcomes=_outcomes()),
    *[Scenario("cancelled by the customer", order_and_cancel, expected_outcomes=_outcomes("cancelled"))] * 2,
)  # the orders of twenty customers
