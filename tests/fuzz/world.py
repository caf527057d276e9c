"""Callers for generated requests, with existing ids, tokens and cursors, so that some requests succeed."""

from dataclasses import dataclass, field
from uuid import uuid4

from contexts.users.service import staff
from tests.engine_driver import run_until_idle
from tests.factories import create_sku
from tests.shopper import PASSWORD, InProcessShopper

STOCK = 1_000_000


@dataclass
class CallerData:
    """A caller, and the values that its requests draw from."""

    caller: InProcessShopper
    values: dict[str, list[str]] = field(default_factory=dict)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.caller.token}"} if self.caller.token else {}


def anonymous_caller() -> InProcessShopper:
    return InProcessShopper()


def customer_caller() -> InProcessShopper:
    caller = InProcessShopper()
    caller.register()
    return caller


def staff_caller(*permissions: str) -> InProcessShopper:
    """Create a member of staff with these permissions, by default with all."""
    caller, email = InProcessShopper(), f"{uuid4().hex}@example.com"
    granted = [*permissions] or [staff.ALL_PERMISSIONS]
    staff.create(email=email, password=PASSWORD, permissions=granted, actor=staff.as_operator("tests"))
    caller.token = caller.post("auth/token", {"email": email, "password": PASSWORD}).body["access"]
    return caller


CALLERS = {"anonymous": anonymous_caller, "customer": customer_caller, "staff": staff_caller}


def create_caller_data(role: str) -> CallerData:
    """Create products, and carts, orders, payments and messages of the caller and of another customer."""
    caller, stranger = CALLERS[role](), customer_caller()
    skus = [create_sku(STOCK), create_sku(STOCK), create_sku(1)]
    carts, orders, waiting = [], [], []
    for owner in (caller, stranger):
        cart = owner.post("carts").body["id"]
        owner.send("PUT", f"carts/{cart}/items/{skus[0]}", {"quantity": 1})
        carts.append(cart)
        orders += [owner.order(skus[0]).body, owner.order(skus[1]).body]
        waiting.append(owner.order(skus[0], token="tok_requires_action").body)
    run_until_idle()
    products = caller.get("products?page_size=2").body
    messages = stranger.get("notifications").body["results"]
    if caller.token:
        messages += caller.get("notifications").body["results"]
    values = {
        "skus": skus,
        "carts": carts,
        "orders": [order["id"] for order in orders + waiting],
        "order_tokens": [order["token"] for order in orders + waiting if order["token"]] or ["none"],
        "payments": [order["payment"]["id"] for order in orders + waiting],
        "references": [order["payment"]["action"]["url"].split("/")[-2] for order in waiting],
        "slugs": [product["slug"] for product in products["results"]],
        "categories": [product["category"] for product in products["results"]],
        "cursors": [products["next"].partition("cursor=")[2].partition("&")[0].replace("%3D", "=")],
        "messages": [message["id"] for message in messages],
        "keys": [uuid4().hex for _ in range(50)],
        "providers": ["sandbox"],
        "cards": [
            "tok_ok",
            "tok_declined",
            "tok_requires_action",
            "tok_timeout_then_ok",
            "tok_error",
            "tok_capture_refused",
        ],
        "emails": [f"{uuid4().hex}@example.com" for _ in range(5)],
        "passwords": [PASSWORD],
    }
    return CallerData(caller, values)


# The values that a parameter draws from, and how often; otherwise its value is generated.
PARAMETER_SOURCES = {
    "header.Idempotency-Key": ("keys", 0.7),
    "header.X-Order-Token": ("order_tokens", 0.7),
    "path.cart_id": ("carts", 0.7),
    "path.order_id": ("orders", 0.7),
    "path.payment_id": ("payments", 0.7),
    "path.message_id": ("messages", 0.7),
    "path.reference": ("references", 0.7),
    "path.slug": ("slugs", 0.7),
    "path.sku": ("skus", 0.8),
    "query.category": ("categories", 0.3),
    "query.cursor": ("cursors", 0.3),
    "body.sku": ("skus", 0.8),
    "body.items[*].sku": ("skus", 0.9),
    "body.cart_id": ("carts", 0.3),
    "body.email": ("emails", 0.7),
    "body.password": ("passwords", 0.7),
    "body.payment_method.provider": ("providers", 0.9),
    "body.payment_method.token": ("cards", 0.8),
}
