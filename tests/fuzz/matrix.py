"""The access matrix: for every route and method a valid request, and the status that each of five callers gets.

The object always belongs to the owner. A caller without access to it gets 404, as for an unknown id.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.engine_driver import run_until_idle
from tests.factories import create_product, create_sku
from tests.fuzz.world import customer_caller, staff_caller
from tests.shopper import ADDRESS, PASSWORD, InProcessShopper

ROLES = ("guest", "owner", "stranger", "other staff", "staff")


@dataclass
class Request:
    """A request that succeeds for a caller with access."""

    path: str
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """One method of one route: its request, the status for each role, and the permission that staff need."""

    build_request: Callable[[InProcessShopper], Request]
    answers: tuple[int, int, int, int, int]
    permission: str = "users.view"

    def answer(self, role: str) -> int:
        return self.answers[ROLES.index(role)]

    @property
    def allowed_role(self) -> str:
        """A role with access."""
        return next(role for role in reversed(ROLES) if self.answer(role) < 400)


def create_callers(permission: str) -> dict[str, InProcessShopper]:
    """Create one caller for each role. Other staff have some other permission."""
    return {
        "guest": InProcessShopper(), "owner": customer_caller(), "stranger": customer_caller(),
        "other staff": staff_caller("notifications.view"), "staff": staff_caller(permission),
    }  # fmt: skip


def idempotency_header() -> dict[str, str]:
    return {"Idempotency_Key": uuid.uuid4().hex}


def unique_email() -> str:
    return f"{uuid.uuid4().hex}@example.com"


def fixed_request(path: str, body: Any = None) -> Callable[[InProcessShopper], Request]:
    """Build the same request for all callers."""
    return lambda owner: Request(path, body() if callable(body) else body)


def order_request(path: str, **headers: str) -> Callable[[InProcessShopper], Request]:
    """Build a request about an order of the owner."""

    def build(owner: InProcessShopper) -> Request:
        order = owner.buy(create_sku(5), email=None)
        return Request(path.format(order=order["id"], payment=order["payment"]["id"]), headers=dict(headers))

    return build


def pay_request(owner: InProcessShopper) -> Request:
    """Build a request to pay an order on hold with another card."""
    order = owner.buy(create_sku(5), token="tok_capture_refused", email=None)
    body = {"payment_method": {"provider": "sandbox", "token": "tok_ok"}}
    return Request(f"orders/{order['id']}/payment", body, idempotency_header())


def guest_order_request(path: str) -> Callable[[InProcessShopper], Request]:
    """Build a request about a guest order, with the token of the order."""

    def build(owner: InProcessShopper) -> Request:
        order = InProcessShopper().order(create_sku(5)).body
        return Request(path.format(order=order["id"]), headers={"X_Order_Token": order["token"]})

    return build


def cart_request(path: str, body: Any = None) -> Callable[[InProcessShopper], Request]:
    def build(owner: InProcessShopper) -> Request:
        sku, cart = create_sku(5), owner.post("carts").body["id"]
        owner.send("PUT", f"carts/{cart}/items/{sku}", {"quantity": 1})
        return Request(path.format(cart=cart, sku=sku), body)

    return build


def waiting_payment_request(path: str) -> Callable[[InProcessShopper], Request]:
    def build(owner: InProcessShopper) -> Request:
        order = owner.order(create_sku(5), token="tok_requires_action", email=None).body
        return Request(path.format(reference=order["payment"]["action"]["url"].split("/")[-2]))

    return build


def payment_request(path: str, token: str) -> Callable[[InProcessShopper], Request]:
    """Build a request of staff about a payment in the status that the token leads to."""

    def build(owner: InProcessShopper) -> Request:
        order = owner.buy(create_sku(5), token=token, email=None)
        return Request(path.format(payment=order["payment"]["id"]), headers=idempotency_header())

    return build


def movement_request(owner: InProcessShopper) -> Request:
    order = owner.buy(create_sku(5), email=None)
    reference = f"sb_{uuid.UUID(order['payment']['id']).hex}"
    return Request(f"payments/sandbox/{reference}/movements", {"movement": "refund", "amount": 1})


def message_request(owner: InProcessShopper) -> Request:
    owner.order(create_sku(5), email=None)
    run_until_idle()
    return Request(f"notifications/{owner.get('notifications').body['results'][0]['id']}/read")


def refund_request(owner: InProcessShopper) -> Request:
    request = order_request("payments/{payment}/refunds")(owner)
    return Request(request.path, {"reason": "broken", "amount": {"amount": 1, "currency": "EUR"}}, idempotency_header())


def place_order_request(owner: InProcessShopper) -> Request:
    body = {"items": [{"sku": create_sku(5), "quantity": 1}], "email": unique_email(), "shipping_address": ADDRESS,
            "billing_address": ADDRESS, "payment_method": {"provider": "sandbox", "token": "tok_ok"}}  # fmt: skip
    return Request("orders", body, idempotency_header())


def account() -> dict[str, str]:
    return {"email": unique_email(), "password": PASSWORD, "full_name": "Ada Buyer"}


def account_request(path: str) -> Callable[[InProcessShopper], Request]:
    """Build a request with the credentials or the refresh token of an account."""

    def build(owner: InProcessShopper) -> Request:
        registered = account()
        owner.post("auth/register", registered)
        credentials = {"email": registered["email"], "password": PASSWORD}
        if path == "auth/token":
            return Request(path, credentials)
        return Request(path, {"refresh": owner.post("auth/token", credentials).body["refresh"]})

    return build


def product_request(owner: InProcessShopper) -> Request:
    slug = f"goods-{uuid.uuid4().hex}"
    create_product((1,), slug=slug)
    return Request(f"products/{slug}")


def stock_change_request(path: str, field: str) -> Callable[[InProcessShopper], Request]:
    return lambda owner: Request(
        path, {"sku": create_sku(5), "quantity": 1, field: uuid.uuid4().hex}, idempotency_header()
    )


def staff_product_request(body: Any = None) -> Callable[[InProcessShopper], Request]:
    return lambda owner: Request(f"staff/{product_request(owner).path}", body)


def staff_variant_request(body: Any = None) -> Callable[[InProcessShopper], Request]:
    return lambda owner: Request(f"staff/variants/{create_sku(5)}", body)


def same_for_all(status: int) -> tuple[int, int, int, int, int]:
    return (status,) * 5


SIGNED_IN = (401, 200, 200, 200, 200)
OWNER = (404, 200, 404, 404, 404)
STAFF = (401, 403, 403, 403, 201)
STAFF_200 = (401, 403, 403, 403, 200)

MATRIX = {
    "POST auth/register": Entry(fixed_request("auth/register", account), same_for_all(201)),
    "POST auth/token": Entry(account_request("auth/token"), same_for_all(200)),
    "POST auth/token/refresh": Entry(account_request("auth/token/refresh"), same_for_all(200)),
    "POST auth/logout": Entry(account_request("auth/logout"), same_for_all(204)),
    "GET users/me": Entry(fixed_request("users/me"), SIGNED_IN),
    "PATCH users/me": Entry(fixed_request("users/me", {"full_name": "Ada Byron"}), SIGNED_IN),
    "GET categories": Entry(fixed_request("categories"), same_for_all(200)),
    "GET products": Entry(fixed_request("products"), same_for_all(200)),
    "GET products/<slug:slug>": Entry(product_request, same_for_all(200)),
    "GET staff/products/<slug:slug>": Entry(staff_product_request(), STAFF_200, "inventory.view"),
    "PATCH staff/products/<slug:slug>": Entry(staff_product_request({"name": "Jar"}), STAFF_200, "inventory.change"),
    "GET staff/variants/<sku:sku>": Entry(staff_variant_request(), STAFF_200, "inventory.view"),
    "PATCH staff/variants/<sku:sku>": Entry(staff_variant_request({"name": "Large"}), STAFF_200, "inventory.change"),
    "POST staff/stock/receipts": Entry(
        stock_change_request("staff/stock/receipts", "reference"), STAFF, "inventory.change"
    ),
    "POST staff/stock/adjustments": Entry(
        stock_change_request("staff/stock/adjustments", "reason"), STAFF, "inventory.change"
    ),
    # The id of a guest's cart is its credential: it has 122 random bits. A customer's cart is the customer's own.
    "POST carts": Entry(fixed_request("carts"), same_for_all(201)),
    "GET carts/<uuid:cart_id>": Entry(cart_request("carts/{cart}"), OWNER),
    "PUT carts/<uuid:cart_id>/items/<sku:sku>": Entry(cart_request("carts/{cart}/items/{sku}", {"quantity": 2}), OWNER),
    "DELETE carts/<uuid:cart_id>/items/<sku:sku>": Entry(cart_request("carts/{cart}/items/{sku}"), OWNER),
    "GET orders": Entry(fixed_request("orders"), SIGNED_IN),
    "POST orders": Entry(place_order_request, same_for_all(201)),
    "POST orders/lookup": Entry(
        fixed_request("orders/lookup", {"number": "#ABCDEFGHJK", "email": "guest@example.com"}), same_for_all(202)
    ),
    "GET orders/<uuid:order_id>": Entry(order_request("orders/{order}"), OWNER),
    "GET orders/<uuid:order_id>/timeline": Entry(order_request("orders/{order}/timeline"), OWNER),
    "POST orders/<uuid:order_id>/payment": Entry(pay_request, OWNER),
    "POST orders/<uuid:order_id>/cancel": Entry(order_request("orders/{order}/cancel"), OWNER),
    "GET payments/<uuid:payment_id>": Entry(
        order_request("payments/{payment}"), (401, 200, 404, 404, 200), "payments.view"
    ),
    "POST payments/<uuid:payment_id>/refunds": Entry(refund_request, STAFF, "payments.refund"),
    "POST staff/payments/<uuid:payment_id>/capture": Entry(
        payment_request("staff/payments/{payment}/capture", "tok_ok"), (401, 403, 403, 403, 200), "payments.capture"
    ),
    "POST staff/payments/<uuid:payment_id>/void": Entry(
        payment_request("staff/payments/{payment}/void", "tok_requires_action"),
        (401, 403, 403, 403, 200),
        "payments.capture",
    ),
    "POST payments/sandbox/<slug:reference>/movements": Entry(
        movement_request, (401, 403, 403, 403, 200), "payments.refund"
    ),
    # The page of the provider: its unguessable address is the credential.
    **{
        f"{method} payments/sandbox/<slug:reference>/{decision}": Entry(
            waiting_payment_request(f"payments/sandbox/{{reference}}/{decision}"), same_for_all(200)
        )
        for method in ("GET", "POST")
        for decision in ("approve", "decline")
    },
    "GET notifications": Entry(fixed_request("notifications"), SIGNED_IN),
    "POST notifications/<uuid:message_id>/read": Entry(message_request, (401, 204, 404, 404, 404)),
}
# The same routes for a guest order: only its token gives access.
GUESTS_ORDER = ("GET orders/{order}", "GET orders/{order}/timeline", "POST orders/{order}/cancel")
