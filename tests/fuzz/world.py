"""What an attack needs to get past the door: callers, and ids, tokens and pages that are really there."""

from dataclasses import dataclass, field
from uuid import uuid4

from contexts.users.service.staff import appoint
from tests.inventory.stock import stocked
from tests.orders.clockwork import run_until_idle
from tests.shopper import PASSWORD, InProcess

STOCK = 1_000_000


@dataclass
class World:
    """A small shop in use, as one caller sees it."""

    caller: InProcess
    values: dict[str, list[str]] = field(default_factory=dict)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.caller.token}"} if self.caller.token else {}


def anonymous() -> InProcess:
    return InProcess()


def customer() -> InProcess:
    caller = InProcess()
    caller.register()
    return caller


def staff(*permissions: str) -> InProcess:
    """Somebody who may do all, or what is named."""
    caller, email = InProcess(), f"{uuid4().hex}@example.com"
    appoint(email=email, password=PASSWORD, permissions=list(permissions or ("*",)), actor="tests")
    caller.token = caller.post("auth/token", {"email": email, "password": PASSWORD}).body["access"]
    return caller


CALLERS = {"anonymous": anonymous, "customer": customer, "staff": staff}


def world(role: str) -> World:
    """Goods on the shelf; carts, orders, payments and messages of the caller's own and of a stranger's."""
    caller, stranger = CALLERS[role](), customer()
    skus = [stocked(STOCK), stocked(STOCK), stocked(1)]
    carts, orders, waiting = [], [], []
    for who in (caller, stranger):
        cart = who.post("carts").body["id"]
        who.send("PUT", f"carts/{cart}/items/{skus[0]}", {"quantity": 1})
        carts.append(cart)
        orders += [who.order(skus[0]).body, who.order(skus[1]).body]
        waiting.append(who.order(skus[0], token="tok_requires_action").body)
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
        "cards": ["tok_ok", "tok_declined", "tok_requires_action", "tok_timeout_then_ok", "tok_error", "tok_capture_refused"],
        "emails": [f"{uuid4().hex}@example.com" for _ in range(5)],
        "passwords": [PASSWORD],
    }
    return World(caller, values)


# Which parameter draws from which of these values, and how often; else it is made up.
DRAWN = {
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
