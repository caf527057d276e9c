"""A scenario: what customers, staff and the payment provider do in a shop, in an order that a seed determines."""

import io
import random
from collections.abc import Callable
from typing import Any

from django.core.management import call_command
from django.test import override_settings

from contexts.inventory.service import seeding
from shop.db.database import fetch_rows
from tests.concurrency import eventually
from tests.engine_driver import run_payment_timers, run_timers, run_until_idle
from tests.mail_server import FakeMailServer
from tests.shopper import PASSWORD, InProcessShopper, Response

SEED = 20260117
RUNS_PER_JOURNEY = 2
# Long enough for a loaded machine to place the order before the time is over.
EXPIRY_HOLD_SECONDS = 2.0
CLERK = "clerk@satsuma.example"
INITIAL_STOCK = {"MUG": 40, "MUG-L": 40, "SPOON": 12, "RARE": 3, "GONE": 0}


class Person(InProcessShopper):
    """A guest or customer, whose name is in the email address, the request ids and the idempotency keys."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name, self.email, self.request_count = name, f"{name}@example.com", 0

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Response:
        self.request_count += 1
        return super().send(method, path, body, **{"X_Request_ID": f"{self.name}.{self.request_count}"} | headers)

    def sign_up(self) -> None:
        self.post("auth/register", {"email": self.email, "password": PASSWORD, "full_name": self.name.title()})
        self.token = self.post("auth/token", {"email": self.email, "password": PASSWORD}).body["access"]

    def place(self, status: int, *skus: str, token: str = "tok_ok", **changes: Any) -> dict[str, Any]:
        """Place an order and check the status of the response."""
        changes = {"email": None if self.token else self.email} | changes
        answer = self.order(*skus, token=token, key=f"key-of-{self.name}-{self.request_count}", **changes)
        assert answer.status == status, answer.body
        return answer.body

    def decide_payment(self, order: dict[str, Any], decision: str) -> None:
        """Approve or decline the payment on the provider's page."""
        approve = "/" + order["payment"]["action"]["url"].split("/", 3)[3]
        assert self.post(approve.replace("/approve", f"/{decision}")).status == 200

    def cancel(self, order: dict[str, Any]) -> None:
        assert self.post(f"orders/{order['id']}/cancel", X_Order_Token=order["token"] or "").status in (200, 202)


class Clerk(Person):
    """A member of staff."""

    def __init__(self) -> None:
        super().__init__("clerk")
        call_command("create_staff", email=CLERK, password=PASSWORD, permissions="*", stdout=io.StringIO())
        self.token = self.post("auth/token", {"email": CLERK, "password": PASSWORD}).body["access"]

    def change_stock(self, kind: str, sku: str, quantity: int) -> None:
        field = "reference" if kind == "receipts" else "reason"
        body = {"sku": sku, "quantity": quantity, field: f"note {self.request_count}"}
        answer = self.post(f"staff/stock/{kind}", body, Idempotency_Key=f"stock-{self.request_count}-of-the-clerk")
        assert answer.status == 201, answer.body

    def refund(self, order: dict[str, Any], amount: int | None) -> None:
        body = {"reason": "A scratch"} | ({"amount": {"amount": amount, "currency": "EUR"}} if amount else {})
        path = f"payments/{order['payment']['id']}/refunds"
        answer = self.post(path, body, Idempotency_Key=f"refund-{self.request_count}-by-the-clerk")
        assert answer.status == 201, answer.body


# --- Journeys, each of a customer or guest of its own. The names of the functions are part of the data: see Person.

Journey = Callable[[Person, Clerk, random.Random], None]


def buys(person: Person, clerk: Clerk, dice: random.Random) -> None:
    person.place(201, *dice.sample(["MUG", "MUG-L", "SPOON"], dice.randint(1, 3)))


def buys_the_cart(person: Person, clerk: Clerk, dice: random.Random) -> None:
    person.sign_up()
    cart = person.post("carts").body["id"]
    for sku in ("MUG", "SPOON"):
        assert person.send("PUT", f"carts/{cart}/items/{sku}", {"quantity": dice.randint(1, 3)}).status == 200
    assert person.send("DELETE", f"carts/{cart}/items/SPOON").status == 200
    person.place(201, items=None, cart_id=cart)
    assert person.get("orders").body["results"][0]["status"] == "confirmed"


def leaves_the_cart(person: Person, clerk: Clerk, dice: random.Random) -> None:
    cart = person.post("carts").body["id"]
    assert person.send("PUT", f"carts/{cart}/items/MUG", {"quantity": dice.randint(4, 9)}).status == 200


def asks_twice(person: Person, clerk: Clerk, dice: random.Random) -> None:
    bought = [person.order("MUG", key=f"key-of-{person.name}-twice", email=person.email).content for _ in range(2)]
    assert bought[0] == bought[1]


def asks_for_what_is_gone(person: Person, clerk: Clerk, dice: random.Random) -> None:
    person.place(409, "MUG", "GONE")


def asks_for_what_never_was(person: Person, clerk: Clerk, dice: random.Random) -> None:
    person.place(422, "NO-SUCH-SKU")


def is_declined(person: Person, clerk: Clerk, dice: random.Random) -> None:
    person.place(402, "MUG", token="tok_declined")


def approves(person: Person, clerk: Clerk, dice: random.Random) -> None:
    person.decide_payment(person.place(202, "MUG-L", token="tok_requires_action"), "approve")


def declines(person: Person, clerk: Clerk, dice: random.Random) -> None:
    person.decide_payment(person.place(202, "MUG-L", token="tok_requires_action"), "decline")


def cancels_instead_of_approving(person: Person, clerk: Clerk, dice: random.Random) -> None:
    person.cancel(person.place(202, "RARE", token="tok_requires_action"))


def lets_the_time_run_out(person: Person, clerk: Clerk, dice: random.Random) -> None:
    with override_settings(RESERVATION_HOLD_SECONDS=EXPIRY_HOLD_SECONDS):
        order = person.place(202, "SPOON", token="tok_requires_action")
        eventually(lambda: _has_passed("orders", "order", "expires_at", "id", order["id"]))
        eventually(lambda: _has_passed("inventory", "reservation", "due_at", "order_id", order["id"]))
        run_timers("inventory")
        run_until_idle()
    assert person.get_order(order)["status"] == "rejected"


def waits_for_a_provider_that_was_away(person: Person, clerk: Clerk, dice: random.Random) -> None:
    order = person.place(202, "MUG", token="tok_timeout_then_ok")
    eventually(lambda: person.get_order(order)["status"] == "confirmed", run_payment_timers, run_until_idle)


def is_put_on_hold(person: Person, clerk: Clerk, dice: random.Random) -> None:
    order = person.place(201, "SPOON", token="tok_capture_refused")
    run_until_idle()
    run_timers("orders")
    assert person.get_order(order)["status"] == "on_hold"


def sends_it_back(person: Person, clerk: Clerk, dice: random.Random) -> None:
    order = person.place(201, "RARE", "MUG")
    run_until_idle()
    person.cancel(order)


def gets_a_part_back(person: Person, clerk: Clerk, dice: random.Random) -> None:
    order = person.place(201, "MUG", "MUG-L")
    run_until_idle()
    clerk.refund(order, 100 * dice.randint(1, 9))


def gets_all_back(person: Person, clerk: Clerk, dice: random.Random) -> None:
    order = person.place(201, "MUG")
    run_until_idle()
    clerk.refund(order, None)


def reads_the_mail(person: Person, clerk: Clerk, dice: random.Random) -> None:
    person.sign_up()
    person.place(201, "MUG")
    run_until_idle()
    [message] = [one for one in person.get("notifications").body["results"] if one["kind"] == "order_confirmed"]
    assert person.post(f"notifications/{message['id']}/read").status == 204
    assert person.send("PATCH", "users/me", {"full_name": f"{person.name.title()} the Reader"}).status == 200


def mistypes_the_password(person: Person, clerk: Clerk, dice: random.Random) -> None:
    person.sign_up()
    assert person.post("auth/token", {"email": person.email, "password": "mistyped"}).status == 401


def finds_the_shelf_refilled(person: Person, clerk: Clerk, dice: random.Random) -> None:
    clerk.change_stock("receipts", "SPOON", dice.randint(2, 6))
    clerk.change_stock("adjustments", "MUG-L", -1)
    person.place(201, "SPOON")


JOURNEYS: list[Journey] = [
    buys, buys_the_cart, leaves_the_cart, asks_twice, asks_for_what_is_gone, asks_for_what_never_was, is_declined, approves,
    declines, cancels_instead_of_approving, lets_the_time_run_out, waits_for_a_provider_that_was_away, is_put_on_hold,
    sends_it_back, gets_a_part_back, gets_all_back, reads_the_mail, mistypes_the_password, finds_the_shelf_refilled,
]  # fmt: skip


def seed_stock() -> None:
    shelf = seeding.SeedCategory(slug="shelf", name="Shelf")
    variants = [
        seeding.SeedVariant(sku=sku, name=sku.title(), price=500 + 99 * len(sku), stock=n)
        for sku, n in INITIAL_STOCK.items()
    ]
    goods = seeding.SeedProduct(slug="goods", name="Goods", category="shelf", variants=variants)
    seeding.seed(seeding.SeedCatalogue(currency="EUR", categories=[shelf], products=[goods]))


def play(seed: int = SEED) -> None:
    """Run the whole scenario on empty tables, until nothing is due."""
    dice = random.Random(seed)
    seed_stock()
    clerk = Clerk()
    journeys = JOURNEYS * RUNS_PER_JOURNEY
    dice.shuffle(journeys)
    for number, journey in enumerate(journeys):
        journey(Person(f"{journey.__name__}-{number}"), clerk, dice)
        if dice.random() < 0.3:  # events of several journeys are handled together
            run_until_idle()
    run_until_idle()
    _send_waiting_mail()


def _has_passed(context: str, table: str, instant: str, key: str, order_id: str) -> bool:
    """Return whether a point in time of an order has passed, by the clock of its database."""
    return fetch_rows(context, f"SELECT {instant} <= now() FROM {context}_{table} WHERE {key} = %s", [order_id])[0][0]


def _send_waiting_mail() -> None:
    server = FakeMailServer()
    server.start()
    try:
        settings = {"EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend", "EMAIL_PORT": server.port}
        with override_settings(EMAIL_HOST="127.0.0.1", **settings):
            run_timers("notifications")
    finally:
        server.stop()
