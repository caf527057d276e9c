"""What customers do: each story places one order and says how it may end."""

import random
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from config.demo.client import Client, WrongAnswer

ADDRESS = {"name": "Ada Buyer", "line1": "1 Main Street", "city": "Berlin", "postal_code": "10115", "country": "DE"}
MORE_THAN_THERE_IS = 10_000  # units: the most that one line may ask for
SIGNED_IN = 240.0  # seconds that an access token is used for; it lasts 300


@dataclass
class Placed:
    """An order that was placed, and what the shop said to that."""

    story: "Story"
    status: int
    answer: dict[str, Any]
    seconds: float
    token: str  # the access token that it was placed with, empty for a guest

    @property
    def id(self) -> str:
        return str(self.answer["id"])

    @property
    def accepted(self) -> bool:
        return self.status in (201, 202)


class Customer:
    """One customer with one connection, who comes again and again."""

    def __init__(self, client: Client, skus: list[str], chance: random.Random) -> None:
        self.client, self.skus, self.chance = client, skus, chance
        self.email, self.password, self.signed_in_at = "", uuid.uuid4().hex, -SIGNED_IN

    def items(self, most: int) -> list[dict[str, Any]]:
        """A few different things."""
        wanted = self.chance.sample(self.skus, min(len(self.skus), self.chance.randint(1, most)))
        return [{"sku": sku, "quantity": self.chance.randint(1, 2)} for sku in wanted]

    def order(self, story: "Story", **wish: Any) -> Placed:
        """Place an order. Raises WrongAnswer for what is no answer to that."""
        payment = {"provider": "sandbox", "token": story.card}
        body = wish | {"shipping_address": ADDRESS, "payment_method": payment}
        began = time.monotonic()
        status, answer = self.client.send("POST", "orders", body)
        took = time.monotonic() - began
        if status not in (201, 202, 402, 409) or not isinstance(answer, dict):
            raise WrongAnswer(f"POST /api/v1/orders answered {status}: {detail(answer)}")
        return Placed(story, status, answer, took, self.client.token)

    def must(self, expected: tuple[int, ...], method: str, path: str, body: Any = None, **headers: str) -> Any:
        """What was answered. Raises WrongAnswer for another status."""
        status, answer = self.client.send(method, path, body, **headers)
        if status not in expected:
            raise WrongAnswer(f"{method} {path} answered {status}: {detail(answer)}")
        return answer

    def sign_in(self) -> None:
        """Open an account the first time; a fresh token when the last one is about to run out."""
        if time.monotonic() - self.signed_in_at > SIGNED_IN:
            if not self.email:
                self.email = email()
                account = {"email": self.email, "password": self.password, "full_name": "Ada Buyer"}
                self.must((201,), "POST", "auth/register", account)
            proof = {"email": self.email, "password": self.password}
            self.token = self.must((200,), "POST", "auth/token", proof)["access"]
            self.signed_in_at = time.monotonic()
        self.client.token = self.token

    def settled(self, placed: Placed) -> str:
        """How an order stands now, whoever placed it."""
        self.client.token = placed.token
        shown = {"X_Order_Token": placed.answer["token"]} if placed.answer["token"] else {}
        return str(self.must((200,), "GET", f"orders/{placed.id}", **shown)["status"])


def detail(answer: Any) -> str:
    """What a problem says."""
    return str(answer.get("detail", answer))[:200] if isinstance(answer, dict) else "nothing that can be read"


def email() -> str:
    return f"demo-{uuid.uuid4().hex[:12]}@example.com"


@dataclass(frozen=True)
class Story:
    """What a customer does, and how it may end: by the status of the first answer and of the order at last."""

    name: str
    act: Callable[["Customer", "Story"], Placed]
    card: str = "tok_ok"
    ends: frozenset[str] = frozenset({"confirmed", "out of stock"})


def guest(customer: Customer, story: Story) -> Placed:
    return customer.order(story, email=email(), items=customer.items(3))


def with_account(customer: Customer, story: Story) -> Placed:
    """Signed in, with a cart that was filled line by line."""
    customer.sign_in()
    cart = customer.must((201,), "POST", "carts")["id"]
    for item in customer.items(4):
        customer.must((200,), "PUT", f"carts/{cart}/items/{item['sku']}", {"quantity": item["quantity"]})
    placed = customer.order(story, cart_id=cart)
    customer.client.token = ""
    return placed


def approving(customer: Customer, story: Story) -> Placed:
    """The card's bank asks back, on a page of its own: here the sandbox's, whose last word says yes or no."""
    placed = guest(customer, story)
    if placed.status == 202:
        page = urlsplit(placed.answer["payment"]["action"]["url"]).path
        decision = "decline" if "declined" in story.ends else "approve"
        customer.must((200,), "POST", page.replace("/approve", f"/{decision}"))
    return placed


def greedy(customer: Customer, story: Story) -> Placed:
    return customer.order(story, email=email(), items=[{"sku": customer.skus[0], "quantity": MORE_THAN_THERE_IS}])


def regretting(customer: Customer, story: Story) -> Placed:
    placed = guest(customer, story)
    if placed.accepted:
        customer.must((200, 202), "POST", f"orders/{placed.id}/cancel", X_Order_Token=placed.answer["token"])
    return placed


def _ends(*names: str) -> frozenset[str]:
    return frozenset({*names, "out of stock"})


DECK = (
    *[Story("guest", guest)] * 7,
    *[Story("customer with a cart", with_account)] * 4,
    *[Story("card declined", guest, "tok_declined", _ends("declined"))] * 2,
    *[Story("card needs approval", approving, "tok_requires_action")] * 2,
    Story("approval refused", approving, "tok_requires_action", _ends("declined")),
    Story("provider slow", guest, "tok_timeout_then_ok"),
    Story("more than there is", greedy, ends=_ends()),
    *[Story("cancelled by the customer", regretting, ends=_ends("cancelled"))] * 2,
)  # of twenty customers
