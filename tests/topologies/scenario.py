"""What customers, staff and the payment provider do to a shop, in an order that a seed says, and always the same."""

import io
import random
from collections.abc import Callable
from typing import Any

from django.core.management import call_command
from django.test import override_settings

from contexts.inventory.service import seeding
from shop.database import rows
from tests.notifications.postbox import Postbox
from tests.orders.clockwork import reconcile, run_timers, run_until_idle
from tests.shopper import PASSWORD, Answer, InProcess
from tests.threads import eventually

SEED = 20260117
TIMES = 2  # that each kind of story is told
CLERK = "clerk@satsuma.example"
SHELF = {"MUG": 40, "MUG-L": 40, "SPOON": 12, "RARE": 3, "GONE": 0}


class Person(InProcess):
    """Somebody with an address; all that they do is told under their name."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name, self.email, self.said = name, f"{name}@example.com", 0

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        self.said += 1
        return super().send(method, path, body, **{"X_Request_ID": f"{self.name}.{self.said}"} | headers)

    def sign_up(self) -> None:
        self.post("auth/register", {"email": self.email, "password": PASSWORD, "full_name": self.name.title()})
        self.token = self.post("auth/token", {"email": self.email, "password": PASSWORD}).body["access"]

    def buy(self, status: int, *skus: str, token: str = "tok_ok", **changes: Any) -> dict[str, Any]:
        """An order, as it is answered; its status is what the story says."""
        changes = {"email": None if self.token else self.email} | changes
        answer = self.order(*skus, token=token, key=f"key-of-{self.name}-{self.said}", **changes)
        assert answer.status == status, answer.body
        return answer.body

    def say(self, order: dict[str, Any], word: str) -> None:
        """At the provider's page: approve or decline."""
        approve = "/" + order["payment"]["action"]["url"].split("/", 3)[3]
        assert self.post(approve.replace("/approve", f"/{word}")).status == 200

    def cancel(self, order: dict[str, Any]) -> None:
        assert self.post(f"orders/{order['id']}/cancel", X_Order_Token=order["token"] or "").status in (200, 202)


class Clerk(Person):
    """A member of staff."""

    def __init__(self) -> None:
        super().__init__("clerk")
        call_command("create_staff", email=CLERK, password=PASSWORD, permissions="*", stdout=io.StringIO())
        self.token = self.post("auth/token", {"email": CLERK, "password": PASSWORD}).body["access"]

    def move(self, what: str, sku: str, quantity: int) -> None:
        why = "reference" if what == "receipts" else "reason"
        body = {"sku": sku, "quantity": quantity, why: f"note {self.said}"}
        answer = self.post(f"staff/stock/{what}", body, Idempotency_Key=f"stock-{self.said}-of-the-clerk")
        assert answer.status == 201, answer.body

    def refund(self, order: dict[str, Any], amount: int | None) -> None:
        body = {"reason": "A scratch"} | ({"amount": {"amount": amount, "currency": "EUR"}} if amount else {})
        path = f"payments/{order['payment']['id']}/refunds"
        answer = self.post(path, body, Idempotency_Key=f"refund-{self.said}-by-the-clerk")
        assert answer.status == 201, answer.body


# --- Stories: each of a customer or guest of its own. The name of the function is that of the story.

Story = Callable[[Person, Clerk, random.Random], None]


def buys(who: Person, clerk: Clerk, dice: random.Random) -> None:
    who.buy(201, *dice.sample(["MUG", "MUG-L", "SPOON"], dice.randint(1, 3)))


def buys_the_cart(who: Person, clerk: Clerk, dice: random.Random) -> None:
    who.sign_up()
    cart = who.post("carts").body["id"]
    for sku in ("MUG", "SPOON"):
        assert who.send("PUT", f"carts/{cart}/items/{sku}", {"quantity": dice.randint(1, 3)}).status == 200
    assert who.send("DELETE", f"carts/{cart}/items/SPOON").status == 200
    who.buy(201, items=None, cart_id=cart)
    assert who.get("orders").body["results"][0]["status"] == "confirmed"


def leaves_the_cart(who: Person, clerk: Clerk, dice: random.Random) -> None:
    cart = who.post("carts").body["id"]
    assert who.send("PUT", f"carts/{cart}/items/MUG", {"quantity": dice.randint(4, 9)}).status == 200


def asks_twice(who: Person, clerk: Clerk, dice: random.Random) -> None:
    bought = [who.order("MUG", key=f"key-of-{who.name}-twice", email=who.email).content for _ in range(2)]
    assert bought[0] == bought[1]


def asks_for_what_is_gone(who: Person, clerk: Clerk, dice: random.Random) -> None:
    who.buy(409, "MUG", "GONE")


def asks_for_what_never_was(who: Person, clerk: Clerk, dice: random.Random) -> None:
    who.buy(422, "NO-SUCH-SKU")


def is_declined(who: Person, clerk: Clerk, dice: random.Random) -> None:
    who.buy(402, "MUG", token="tok_declined")


def approves(who: Person, clerk: Clerk, dice: random.Random) -> None:
    who.say(who.buy(202, "MUG-L", token="tok_requires_action"), "approve")


def declines(who: Person, clerk: Clerk, dice: random.Random) -> None:
    who.say(who.buy(202, "MUG-L", token="tok_requires_action"), "decline")


def cancels_instead_of_approving(who: Person, clerk: Clerk, dice: random.Random) -> None:
    who.cancel(who.buy(202, "RARE", token="tok_requires_action"))


def lets_the_time_run_out(who: Person, clerk: Clerk, dice: random.Random) -> None:
    with override_settings(RESERVATION_HOLD_SECONDS=0.5):
        order = who.buy(202, "SPOON", token="tok_requires_action")
        eventually(lambda: _is_over("orders", "order", "expires_at", "id", order["id"]))
        eventually(lambda: _is_over("inventory", "reservation", "due_at", "order_id", order["id"]))
        run_timers("inventory")
        run_until_idle()
    assert who.look_at(order)["status"] == "rejected"


def waits_for_a_provider_that_was_away(who: Person, clerk: Clerk, dice: random.Random) -> None:
    order = who.buy(202, "MUG", token="tok_timeout_then_ok")
    eventually(lambda: who.look_at(order)["status"] == "confirmed", reconcile, run_until_idle)


def is_put_on_hold(who: Person, clerk: Clerk, dice: random.Random) -> None:
    assert who.buy(201, "SPOON", token="tok_capture_refused")["status"] == "on_hold"


def sends_it_back(who: Person, clerk: Clerk, dice: random.Random) -> None:
    order = who.buy(201, "RARE", "MUG")
    run_until_idle()
    who.cancel(order)


def gets_a_part_back(who: Person, clerk: Clerk, dice: random.Random) -> None:
    order = who.buy(201, "MUG", "MUG-L")
    run_until_idle()
    clerk.refund(order, 100 * dice.randint(1, 9))


def gets_all_back(who: Person, clerk: Clerk, dice: random.Random) -> None:
    order = who.buy(201, "MUG")
    run_until_idle()
    clerk.refund(order, None)


def reads_the_mail(who: Person, clerk: Clerk, dice: random.Random) -> None:
    who.sign_up()
    who.buy(201, "MUG")
    run_until_idle()
    [message] = [one for one in who.get("notifications").body["results"] if one["kind"] == "order_confirmed"]
    assert who.post(f"notifications/{message['id']}/read").status == 204
    assert who.send("PATCH", "users/me", {"full_name": f"{who.name.title()} the Reader"}).status == 200


def mistypes_the_password(who: Person, clerk: Clerk, dice: random.Random) -> None:
    who.sign_up()
    assert who.post("auth/token", {"email": who.email, "password": "mistyped"}).status == 401


def finds_the_shelf_refilled(who: Person, clerk: Clerk, dice: random.Random) -> None:
    clerk.move("receipts", "SPOON", dice.randint(2, 6))
    clerk.move("adjustments", "MUG-L", -1)
    who.buy(201, "SPOON")


STORIES: list[Story] = [
    buys, buys_the_cart, leaves_the_cart, asks_twice, asks_for_what_is_gone, asks_for_what_never_was, is_declined, approves,
    declines, cancels_instead_of_approving, lets_the_time_run_out, waits_for_a_provider_that_was_away, is_put_on_hold,
    sends_it_back, gets_a_part_back, gets_all_back, reads_the_mail, mistypes_the_password, finds_the_shelf_refilled,
]  # fmt: skip


def fill_the_shelf() -> None:
    shelf = seeding.SeedCategory(slug="shelf", name="Shelf")
    variants = [seeding.SeedVariant(sku=sku, name=sku.title(), price=500 + 99 * len(sku), stock=n) for sku, n in SHELF.items()]
    goods = seeding.SeedProduct(slug="goods", name="Goods", category="shelf", variants=variants)
    seeding.seed(seeding.Catalogue(currency="EUR", categories=[shelf], products=[goods]))


def play(seed: int = SEED) -> None:
    """All of it, on empty tables, until nothing is due."""
    dice = random.Random(seed)
    fill_the_shelf()
    clerk = Clerk()
    told = STORIES * TIMES
    dice.shuffle(told)
    for number, story in enumerate(told):
        story(Person(f"{story.__name__}-{number}"), clerk, dice)
        if dice.random() < 0.3:  # what waits for the engine waits for a while
            run_until_idle()
    run_until_idle()
    _let_mail_go_out()


def _is_over(context: str, table: str, instant: str, key: str, order_id: str) -> bool:
    """Whether an instant of an order is over: who looks first then does not depend on how fast a look is."""
    return rows(context, f"SELECT {instant} <= now() FROM {context}_{table} WHERE {key} = %s", [order_id])[0][0]


def _let_mail_go_out() -> None:
    box = Postbox()
    box.start()
    try:
        mail_server = {"EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend", "EMAIL_PORT": box.port}
        with override_settings(EMAIL_HOST="127.0.0.1", **mail_server):
            run_timers("notifications")
    finally:
        box.stop()
