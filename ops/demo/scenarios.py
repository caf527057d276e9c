"""Scenarios of customers: each places one order and declares how the order may end."""

import random
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from ops.demo.client import Client, Json, UnexpectedResponse

ADDRESS = {"name": "Ada Buyer", "line1": "1 Main Street", "city": "Berlin", "postal_code": "10115", "country": "DE"}
OVERSIZED_QUANTITY = 10_000  # the highest quantity that one order line may have
OUT_OF_STOCK = "inventory.out_of_stock"  # error code
ACTION_TIMEOUT_SECONDS = 30.0  # how long a customer waits for the page on which a card is approved
ACTION_POLL_SECONDS = 0.2


@dataclass
class PlacedOrder:
    """An order that a customer placed, and the response to it.

    seconds: how long placing it took; None if its cart was refused for lack of stock before.
    """

    scenario: "Scenario"
    customer: "Customer"
    status: int
    body: dict[str, Json]
    seconds: float | None

    @property
    def id(self) -> str:
        return str(self.body["id"])

    @property
    def is_accepted(self) -> bool:
        return self.status in (201, 202)

    def read(self) -> dict[str, Json]:
        """Return the present order, as its customer sees it. Raises UnexpectedResponse."""
        if token := self.body["token"]:
            order = self.customer.send_expecting((200,), "GET", f"orders/{self.id}", X_Order_Token=token)
        else:
            with self.customer.signed_in():
                order = self.customer.send_expecting((200,), "GET", f"orders/{self.id}")
        return dict(order)


class Customer:
    """A customer with one connection who places order after order, as a guest or signed in to an account."""

    def __init__(self, client: Client, skus: list[str], rng: random.Random) -> None:
        self.client, self.skus, self.rng = client, skus, rng
        self.email, self.password, self.token = "", uuid.uuid4().hex, ""

    def choose_items(self, maximum: int) -> list[dict[str, str | int]]:
        """Choose up to `maximum` different SKUs, one or two units of each."""
        skus = self.rng.sample(self.skus, min(len(self.skus), self.rng.randint(1, maximum)))
        return [{"sku": sku, "quantity": self.rng.randint(1, 2)} for sku in skus]

    def order(self, scenario: "Scenario", **request: Json) -> PlacedOrder:
        """Place an order. Raises UnexpectedResponse."""
        payment = {"provider": "sandbox", "token": scenario.payment_token}
        request |= {"shipping_address": ADDRESS, "payment_method": payment}
        started_at = time.monotonic()
        status, body = self.send("POST", "orders", request)
        seconds = time.monotonic() - started_at
        if status not in (201, 202, 402, 409) or not isinstance(body, dict):
            raise UnexpectedResponse(f"POST /api/v1/orders returned {status}: {describe_problem(body)}")
        return PlacedOrder(scenario, self, status, body, seconds)

    def send(self, method: str, path: str, body: Json = None, **headers: str) -> tuple[int, Json]:
        """Send a request like `Client.send`, and get a new access token if the present one has expired."""
        status, response = self.client.send(method, path, body, **headers)
        if status == 401 and self.client.token:
            self._get_token()
            status, response = self.client.send(method, path, body, **headers)
        return status, response

    def send_expecting(
        self, expected: tuple[int, ...], method: str, path: str, body: Json = None, **headers: str
    ) -> Json:
        """Send a request and return the body of the response. Raises UnexpectedResponse for another status."""
        status, response = self.send(method, path, body, **headers)
        if status not in expected:
            raise UnexpectedResponse(f"{method} {path} returned {status}: {describe_problem(response)}")
        return response

    @contextmanager
    def signed_in(self) -> Iterator[None]:
        """Send the requests of the block as the customer's account, which is registered the first time."""
        if not self.email:
            email = generate_email()
            account = {"email": email, "password": self.password, "full_name": "Ada Buyer"}
            self.send_expecting((201,), "POST", "auth/register", account)
            self.email = email
        if not self.token:
            self._get_token()
        self.client.token = self.token
        try:
            yield
        finally:
            self.client.token = ""

    def _get_token(self) -> None:
        self.client.token = ""
        credentials = {"email": self.email, "password": self.password}
        self.token = self.client.token = self.send_expecting((200,), "POST", "auth/token", credentials)["access"]


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
    """Sign in, fill a cart item by item, and place an order for it. The customer leaves if an item has sold out."""
    with customer.signed_in():
        cart = customer.send_expecting((201,), "POST", "carts")["id"]
        for item in customer.choose_items(4):
            path = f"carts/{cart}/items/{item['sku']}"
            status, body = customer.send("PUT", path, {"quantity": item["quantity"]})
            if status == 409 and body["code"] == OUT_OF_STOCK:
                return PlacedOrder(scenario, customer, status, body, None)
            if status != 200:
                raise UnexpectedResponse(f"PUT {path} returned {status}: {describe_problem(body)}")
        return customer.order(scenario, cart_id=cart)


def order_with_approval(customer: Customer, scenario: Scenario) -> PlacedOrder:
    """Place an order whose card needs approval (3-D Secure), and approve or decline it on the sandbox's page."""
    placed = order_as_guest(customer, scenario)
    if placed.status == 202 and (page := await_approval_page(placed)):
        decision = "decline" if "declined" in scenario.expected_outcomes else "approve"
        customer.send_expecting((200,), "POST", page.replace("/approve", f"/{decision}"))
    return placed


def await_approval_page(placed: PlacedOrder) -> str:
    """Return the path of the page on which the customer approves the payment, or nothing if that is not necessary any more.

    A shop whose payments are slow or away accepts an order without it, and authorizes it later. Raises UnexpectedResponse.
    """
    order, deadline = placed.body, time.monotonic() + ACTION_TIMEOUT_SECONDS
    while order["status"] == "pending":
        if action := order["payment"]["action"]:
            return urlsplit(action["url"]).path
        if time.monotonic() > deadline:
            raise UnexpectedResponse(f"The order {placed.id} is pending, and its payment has no page to approve it.")
        time.sleep(ACTION_POLL_SECONDS)
        order = placed.read()
    return ""


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
