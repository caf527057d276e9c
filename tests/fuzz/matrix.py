"""Who may do what: for every route and method a good request, and how each of five callers is answered.

The object is always the owner's. What is not there for somebody is 404, as if it had never been.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.fuzz.world import customer, staff
from tests.inventory.stock import product, stocked
from tests.orders.clockwork import run_until_idle
from tests.shopper import ADDRESS, PASSWORD, InProcess

ROLES = ("guest", "owner", "stranger", "other staff", "staff")


@dataclass
class Request:
    """A request that would do something for whoever may."""

    path: str
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """One method of one route: how to ask, the permission that staff need, and the answer by role, in their order."""

    ask: Callable[[InProcess], Request]
    answers: tuple[int, int, int, int, int]
    permission: str = "nothing.view"

    def answer(self, role: str) -> int:
        return self.answers[ROLES.index(role)]

    @property
    def role(self) -> str:
        """Somebody who may."""
        return next(role for role in reversed(ROLES) if self.answer(role) < 400)


def callers(permission: str) -> dict[str, InProcess]:
    """Fresh ones. Other staff may do something, but not this."""
    return {
        "guest": InProcess(), "owner": customer(), "stranger": customer(),
        "other staff": staff("elsewhere.view"), "staff": staff(permission),
    }  # fmt: skip


def key() -> dict[str, str]:
    return {"Idempotency_Key": uuid.uuid4().hex}


def email() -> str:
    return f"{uuid.uuid4().hex}@example.com"


def at(path: str, body: Any = None) -> Callable[[InProcess], Request]:
    """The same request for everybody."""
    return lambda owner: Request(path, body() if callable(body) else body)


def of_order(path: str, **headers: str) -> Callable[[InProcess], Request]:
    """About an order of the owner's."""

    def ask(owner: InProcess) -> Request:
        order = owner.order(stocked(5), email=None).body
        return Request(path.format(order=order["id"], payment=order["payment"]["id"]), headers=dict(headers))

    return ask


def of_guest(path: str) -> Callable[[InProcess], Request]:
    """About an order without an account, by somebody who has its token."""

    def ask(owner: InProcess) -> Request:
        order = InProcess().order(stocked(5)).body
        return Request(path.format(order=order["id"]), headers={"X_Order_Token": order["token"]})

    return ask


def of_cart(path: str, body: Any = None) -> Callable[[InProcess], Request]:
    def ask(owner: InProcess) -> Request:
        sku, cart = stocked(5), owner.post("carts").body["id"]
        owner.send("PUT", f"carts/{cart}/items/{sku}", {"quantity": 1})
        return Request(path.format(cart=cart, sku=sku), body)

    return ask


def of_waiting_payment(path: str) -> Callable[[InProcess], Request]:
    def ask(owner: InProcess) -> Request:
        order = owner.order(stocked(5), token="tok_requires_action", email=None).body
        return Request(path.format(reference=order["payment"]["action"]["url"].split("/")[-2]))

    return ask


def of_message(owner: InProcess) -> Request:
    owner.order(stocked(5), email=None)
    run_until_idle()
    return Request(f"notifications/{owner.get('notifications').body['results'][0]['id']}/read")


def refund(owner: InProcess) -> Request:
    asked = of_order("payments/{payment}/refunds")(owner)
    return Request(asked.path, {"reason": "broken", "amount": {"amount": 1, "currency": "EUR"}}, key())


def place(owner: InProcess) -> Request:
    wish = {"items": [{"sku": stocked(5), "quantity": 1}], "email": email(), "shipping_address": ADDRESS,
            "billing_address": ADDRESS, "payment_method": {"provider": "sandbox", "token": "tok_ok"}}  # fmt: skip
    return Request("orders", wish, key())


def account() -> dict[str, str]:
    return {"email": email(), "password": PASSWORD, "full_name": "Ada Buyer"}


def of_account(path: str) -> Callable[[InProcess], Request]:
    """With what a sign-in gave."""

    def ask(owner: InProcess) -> Request:
        opened = account()
        owner.post("auth/register", opened)
        proof = {"email": opened["email"], "password": PASSWORD}
        if path == "auth/token":
            return Request(path, proof)
        return Request(path, {"refresh": owner.post("auth/token", proof).body["refresh"]})

    return ask


def of_product(owner: InProcess) -> Request:
    slug = f"goods-{uuid.uuid4().hex}"
    product((1,), slug=slug)
    return Request(f"products/{slug}")


def stock_change(path: str, why: str) -> Callable[[InProcess], Request]:
    return lambda owner: Request(path, {"sku": stocked(5), "quantity": 1, why: uuid.uuid4().hex})


def everybody(status: int) -> tuple[int, int, int, int, int]:
    return (status,) * 5


SIGNED_IN = (401, 200, 200, 200, 200)
OWNER = (404, 200, 404, 404, 404)
STAFF = (401, 403, 403, 403, 201)

MATRIX = {
    "POST auth/register": Entry(at("auth/register", account), everybody(201)),
    "POST auth/token": Entry(of_account("auth/token"), everybody(200)),
    "POST auth/token/refresh": Entry(of_account("auth/token/refresh"), everybody(200)),
    "POST auth/logout": Entry(of_account("auth/logout"), everybody(204)),
    "GET users/me": Entry(at("users/me"), SIGNED_IN),
    "PATCH users/me": Entry(at("users/me", {"full_name": "Ada Byron"}), SIGNED_IN),
    "GET categories": Entry(at("categories"), everybody(200)),
    "GET products": Entry(at("products"), everybody(200)),
    "GET products/<slug:slug>": Entry(of_product, everybody(200)),
    "POST staff/stock/receipts": Entry(stock_change("staff/stock/receipts", "reference"), STAFF, "inventory.change"),
    "POST staff/stock/adjustments": Entry(stock_change("staff/stock/adjustments", "reason"), STAFF, "inventory.change"),
    # Whoever knows a cart's id may fill it: 122 random bits, shown to nobody else.
    "POST carts": Entry(at("carts"), everybody(201)),
    "GET carts/<uuid:cart_id>": Entry(of_cart("carts/{cart}"), everybody(200)),
    "PUT carts/<uuid:cart_id>/items/<sku:sku>": Entry(of_cart("carts/{cart}/items/{sku}", {"quantity": 2}), everybody(200)),
    "DELETE carts/<uuid:cart_id>/items/<sku:sku>": Entry(of_cart("carts/{cart}/items/{sku}"), everybody(200)),
    "GET orders": Entry(at("orders"), SIGNED_IN),
    "POST orders": Entry(place, everybody(201)),
    "GET orders/<uuid:order_id>": Entry(of_order("orders/{order}"), OWNER),
    "GET orders/<uuid:order_id>/timeline": Entry(of_order("orders/{order}/timeline"), OWNER),
    "POST orders/<uuid:order_id>/cancel": Entry(of_order("orders/{order}/cancel"), OWNER),
    "GET payments/<uuid:payment_id>": Entry(of_order("payments/{payment}"), (401, 200, 404, 404, 200), "payments.view"),
    "POST payments/<uuid:payment_id>/refunds": Entry(refund, STAFF, "payments.refund"),
    # The provider's own page: whoever was sent there knows its unguessable address.
    **{
        f"{method} payments/sandbox/<slug:reference>/{decision}": Entry(
            of_waiting_payment(f"payments/sandbox/{{reference}}/{decision}"), everybody(200)
        )
        for method in ("GET", "POST")
        for decision in ("approve", "decline")
    },
    "GET notifications": Entry(at("notifications"), SIGNED_IN),
    "POST notifications/<uuid:message_id>/read": Entry(of_message, (401, 204, 404, 404, 404)),
}
# The same routes, asked about an order without an account: its token opens them to whoever has it, and nothing else does.
GUESTS_ORDER = ("GET orders/{order}", "GET orders/{order}/timeline", "POST orders/{order}/cancel")
