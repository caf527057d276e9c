"""Buyers: threads that each take the next journey of the plan, over HTTP and with nothing but what a stranger knows."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any
from urllib.parse import urlsplit

from config.soak.client import Answer, Client, GivenUp
from config.soak.history import History
from config.soak.plan import CUSTOMERS, LEAD, Journey
from config.soak.topology import Sites

ADDRESS = {"name": "Ada Buyer", "line1": "1 Main Street", "city": "Berlin", "postal_code": "10115", "country": "DE"}
PASSWORD = "correct horse battery"
API = "/api/v1/"
SETUP = -1  # the journey that opens the accounts


@dataclass
class Progress:
    """How many orders were begun, and up to which the faults have struck. Buyers and faults wait for each other."""

    orders: int
    begun: int = 0
    finished: int = 0
    struck_before: int = 0  # all faults of orders below this one have struck
    changed: threading.Condition = field(default_factory=threading.Condition)

    def begin(self, number: int) -> None:
        """Begin an order, unless the faults are too far behind."""
        with self.changed:
            self.changed.wait_for(lambda: number < self.struck_before + LEAD)
            self.begun = max(self.begun, number + 1)
            self.changed.notify_all()

    def finish(self) -> None:
        with self.changed:
            self.finished += 1
            self.changed.notify_all()

    def await_begun(self, count: int) -> None:
        with self.changed:
            self.changed.wait_for(lambda: self.begun >= count)

    def strike(self, before: int) -> None:
        with self.changed:
            self.struck_before = max(self.struck_before, before)
            self.changed.notify_all()


@dataclass
class Town:
    """What all buyers share."""

    history: History
    sites: Sites
    seed: int
    progress: Progress
    customers: list[str] = field(default_factory=list)  # access tokens of those with an account
    staff: str = ""
    carts: dict[int, str] = field(default_factory=dict)  # of journeys by cart: what has to be said again in a repeat

    def client(self, journey: int, token: str = "", *, part: str = "") -> Client:
        return Client(self.history, self.sites, Random(f"{self.seed} client {journey} {part}"), journey, token)

    def open_accounts(self, staff_email: str) -> None:
        """Register the customers and sign everybody in."""
        for number in range(CUSTOMERS):
            account = {"email": address_of_customer(number), "password": PASSWORD}
            client = self.client(SETUP)
            client.send(
                "register", "POST", API + "auth/register", account | {"full_name": "Ada Buyer"}, f"account-{number:09}"
            )
            self.customers.append(self._sign_in(account))
        self.staff = self._sign_in({"email": staff_email, "password": PASSWORD})

    def _sign_in(self, account: dict[str, str]) -> str:
        return self.client(SETUP).send("sign_in", "POST", API + "auth/token", account).body["access"]

    def buy_all(self, journeys: Iterator[Journey], buyers: int) -> None:
        """Run all journeys, so many at a time."""
        self._each(journeys, buyers, lambda journey: Trip(self, journey).run())

    def ask_all_again(self, journeys: Iterator[Journey], buyers: int) -> None:
        """Send each order once more, when all is final: the answer has to be the same, and there is one order."""
        self._each(journeys, buyers, lambda journey: Trip(self, journey).repeat())

    def _each(self, journeys: Iterator[Journey], buyers: int, run: Callable[[Journey], None]) -> None:
        lock, failed = threading.Lock(), []

        def work() -> None:
            try:
                while not failed:
                    with lock:
                        journey = next(journeys, None)
                    if journey is None:
                        return
                    run(journey)
            except BaseException as error:  # a mistake of ours, not the shop's: the soak ends with it
                failed.append(error)

        threads = [threading.Thread(target=work, name=f"buyer-{n}", daemon=True) for n in range(buyers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failed:
            raise failed[0]


class Trip:
    """One journey as it is made."""

    def __init__(self, town: Town, journey: Journey) -> None:
        self.town, self.journey = town, journey
        self.token = "" if journey.customer is None else town.customers[journey.customer]
        self.client = town.client(journey.number, self.token)
        self.key = key_of(town.seed, journey.number)

    def run(self) -> None:
        self.town.progress.begin(self.journey.number)
        try:
            self._shop()
        except GivenUp:
            return  # the history says so, and the audit objects
        finally:
            self.town.progress.finish()

    def repeat(self) -> None:
        """The same request once more."""
        cart = self.town.carts.get(self.journey.number)
        if self.journey.by_cart and cart is None:
            return  # it was given up before there was an order
        self.client = self.town.client(self.journey.number, self.token, part="repeat")
        try:
            self._send_order(self.client, self._wish(cart), "repeat")
        except GivenUp:
            return

    def _shop(self) -> None:
        if self.journey.browses:
            self._browse()
        wish = self._wish(self._fill_cart() if self.journey.by_cart else None)
        answer = self._order(wish)
        if self.journey.reuses and answer.status == 201:
            self.client.send(
                "reuse", "POST", API + "orders", wish | {"shipping_address": ADDRESS | {"city": "Bonn"}}, self.key
            )
        if answer.status == 202:
            self._decide(answer)
        if self.journey.then == "cancel" and answer.status in (201, 202):
            self._cancel(answer.body)
        if self.journey.then == "refund" and answer.status == 201:
            self._refund(answer.body)

    def _browse(self) -> None:
        found = self.client.send("browse", "GET", API + "products?in_stock=true&page_size=5").body["results"]
        self.client.send("browse", "GET", f"{API}products/{found[0]['slug']}")

    def _fill_cart(self) -> str:
        cart = self.client.send("cart", "POST", API + "carts", None, f"{self.key}-cart").body["id"]
        for sku, quantity in dict(self.journey.items).items():
            self.client.send("fill", "PUT", f"{API}carts/{cart}/items/{sku}", {"quantity": quantity})
        self.town.carts[self.journey.number] = cart
        return cart

    def _wish(self, cart: str | None) -> dict[str, Any]:
        wish: dict[str, Any] = {
            "shipping_address": ADDRESS,
            "payment_method": {"provider": "sandbox", "token": self.journey.token},
        }
        if self.journey.customer is None:
            wish["email"] = address_of_guest(self.town.seed, self.journey.number)
        if cart:
            return wish | {"cart_id": cart}
        return wish | {"items": [{"sku": sku, "quantity": quantity} for sku, quantity in self.journey.items]}

    def _order(self, wish: dict[str, Any]) -> Answer:
        if not self.journey.twice:
            return self._send_order(self.client, wish, "order")
        other = self.town.client(self.journey.number, self.token, part="twin")
        twin = threading.Thread(target=self._as_twin, args=(other, wish), daemon=True)
        twin.start()
        try:
            return self._send_order(self.client, wish, "order")
        finally:
            twin.join()

    def _as_twin(self, client: Client, wish: dict[str, Any]) -> None:
        try:
            self._send_order(client, wish, "order")
        except GivenUp:
            return

    def _send_order(self, client: Client, wish: dict[str, Any], purpose: str) -> Answer:
        return client.send(purpose, "POST", API + "orders", wish, self.key)

    def _decide(self, answer: Answer) -> None:
        """Go to the address that the payment asks for, and say yes or no there."""
        action = answer.body["payment"]["action"]
        if action and self.journey.decision:
            path = urlsplit(action["url"]).path
            if self.journey.decision == "decline":
                path = path.replace("/approve", "/decline")
            self.client.send(self.journey.decision, "POST", path)

    def _cancel(self, order: dict[str, Any]) -> None:
        time.sleep(self.client.chance.choice((0, 0, 0.05, 0.5)))  # a change of mind, now or a moment later
        self.client.send(
            "cancel", "POST", f"{API}orders/{order['id']}/cancel", None, "", X_Order_Token=order.get("token") or ""
        )

    def _refund(self, order: dict[str, Any]) -> None:
        """Staff give a part of the money back, or all of it."""
        body: dict[str, Any] = {"reason": "A scratch."}
        if self.client.chance.random() < 0.5:
            total = order["totals"]["total"]
            body["amount"] = total | {"amount": max(1, total["amount"] // 3)}
        staff = self.town.client(self.journey.number, self.town.staff, part="staff")
        staff.send("refund", "POST", f"{API}payments/{order['payment']['id']}/refunds", body, f"{self.key}-refund")


def key_of(seed: int, number: int) -> str:
    """The Idempotency-Key of a journey's order."""
    return f"soak-{seed}-order-{number:06}"


def address_of_guest(seed: int, number: int) -> str:
    return f"guest-{seed}-{number}@example.com"


def address_of_customer(number: int) -> str:
    return f"customer-{number}@example.com"
