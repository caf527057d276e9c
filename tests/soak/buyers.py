"""Buyers: threads that each perform the next journey of the plan, through the public API only."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any
from urllib.parse import urlsplit

from ops.console.request_log import RequestLog
from tests.soak.client import Client, Response, RetriesExhausted
from tests.soak.plan import CUSTOMER_COUNT, MAX_ORDERS_AHEAD, Journey
from tests.soak.topology import Sites

ADDRESS = {"name": "Ada Buyer", "line1": "1 Main Street", "city": "Berlin", "postal_code": "10115", "country": "DE"}
PASSWORD = "correct horse battery"
API = "/api/v1/"
MAX_CAPTURE_READS, CAPTURE_READ_INTERVAL_SECONDS = 40, 0.25
SETUP_JOURNEY = -1  # the journey that opens the accounts


@dataclass
class Progress:
    """How many orders have begun, and up to which order the faults were injected. Buyers and faults wait for each other."""

    orders: int
    begun_count: int = 0
    finished_count: int = 0
    injected_before: int = 0  # all faults that precede this order were injected
    changed: threading.Condition = field(default_factory=threading.Condition)

    def begin(self, number: int) -> None:
        """Begin an order; wait first if the faults are too far behind."""
        with self.changed:
            self.changed.wait_for(lambda: number < self.injected_before + MAX_ORDERS_AHEAD)
            self.begun_count = max(self.begun_count, number + 1)
            self.changed.notify_all()

    def finish(self) -> None:
        with self.changed:
            self.finished_count += 1
            self.changed.notify_all()

    def await_begun(self, count: int) -> None:
        with self.changed:
            self.changed.wait_for(lambda: self.begun_count >= count)

    def mark_injected(self, before: int) -> None:
        with self.changed:
            self.injected_before = max(self.injected_before, before)
            self.changed.notify_all()


@dataclass
class BuyerPool:
    """The state that all buyers share."""

    history: RequestLog
    sites: Sites
    seed: int
    progress: Progress
    customers: list[str] = field(default_factory=list)  # access tokens of the customers with an account
    staff: str = ""  # access token
    carts: dict[int, str | None] = field(default_factory=dict)  # by journey: its cart, which a repeat names again

    def create_client(self, journey: int, token: str = "", *, part: str = "") -> Client:
        return Client(self.history, self.sites, Random(f"{self.seed} client {journey} {part}"), journey, token)

    def open_accounts(self, staff_email: str) -> None:
        """Register the customers, and sign them and a member of staff in."""
        for number in range(CUSTOMER_COUNT):
            account = {"email": build_customer_email(number), "password": PASSWORD}
            client = self.create_client(SETUP_JOURNEY)
            client.send(
                "register", "POST", API + "auth/register", account | {"full_name": "Ada Buyer"}, f"account-{number:09}"
            )
            self.customers.append(self._sign_in(account))
        self.staff = self._sign_in({"email": staff_email, "password": PASSWORD})

    def _sign_in(self, account: dict[str, str]) -> str:
        return self.create_client(SETUP_JOURNEY).send("sign_in", "POST", API + "auth/token", account).body["access"]

    def run_journeys(self, journeys: Iterator[Journey], buyers: int) -> None:
        """Run all journeys in `buyers` threads."""
        self._run_in_threads(journeys, buyers, lambda journey: JourneyRun(self, journey).run())

    def repeat_orders(self, journeys: Iterator[Journey], buyers: int) -> None:
        """Send each order request once more when all orders are final: the responses have to be the same."""
        self._run_in_threads(journeys, buyers, lambda journey: JourneyRun(self, journey).repeat())

    def _run_in_threads(self, journeys: Iterator[Journey], buyers: int, run: Callable[[Journey], None]) -> None:
        lock, failed = threading.Lock(), []

        def work() -> None:
            try:
                while not failed:
                    with lock:
                        journey = next(journeys, None)
                    if journey is None:
                        return
                    run(journey)
            except BaseException as error:  # a bug of the test, not of the shop: end the soak test
                failed.append(error)

        threads = [threading.Thread(target=work, name=f"buyer-{n}", daemon=True) for n in range(buyers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failed:
            raise failed[0]


class JourneyRun:
    """The execution of one journey."""

    def __init__(self, buyer_pool: BuyerPool, journey: Journey) -> None:
        self.buyer_pool, self.journey = buyer_pool, journey
        self.token = "" if journey.customer is None else buyer_pool.customers[journey.customer]
        self.client = buyer_pool.create_client(journey.number, self.token)
        self.key = build_order_key(buyer_pool.seed, journey.number)

    def run(self) -> None:
        self.buyer_pool.progress.begin(self.journey.number)
        try:
            self._execute()
        except RetriesExhausted:
            return  # the request log has it, and the audit reports it
        finally:
            self.buyer_pool.progress.finish()

    def repeat(self) -> None:
        """Send the order request of the journey once more."""
        if self.journey.uses_cart and self.journey.number not in self.buyer_pool.carts:
            return  # the journey ended before the order was placed
        cart = self.buyer_pool.carts.get(self.journey.number)
        self.client = self.buyer_pool.create_client(self.journey.number, self.token, part="repeat")
        try:
            self._send_order(self.client, self._build_order_request(cart), "repeat")
        except RetriesExhausted:
            return

    def _execute(self) -> None:
        if self.journey.is_browsing:
            self._browse()
        order_request = self._build_order_request(self._fill_cart() if self.journey.uses_cart else None)
        answer = self._place_order(order_request)
        if self.journey.reuses_key and answer.status == 201:
            self.client.send(
                "reuse",
                "POST",
                API + "orders",
                order_request | {"shipping_address": ADDRESS | {"city": "Bonn"}},
                self.key,
            )
        if answer.status == 202:
            self._answer_challenge(answer)
        if self.journey.then == "cancel" and answer.status in (201, 202):
            self._cancel(answer.body)
        if self.journey.then == "refund" and answer.status == 201:
            self._refund(answer.body)

    def _browse(self) -> None:
        found = self.client.send("browse", "GET", API + "products?in_stock=true&page_size=5").body["results"]
        self.client.send("browse", "GET", f"{API}products/{found[0]['slug']}")

    def _fill_cart(self) -> str | None:
        """Fill a cart. Return None if nothing of it can be bought any more; the items are then ordered without a cart."""
        cart = self.client.send("cart", "POST", API + "carts", None, f"{self.key}-cart").body["id"]
        answers = [
            self.client.send("fill", "PUT", f"{API}carts/{cart}/items/{sku}", {"quantity": quantity})
            for sku, quantity in dict(self.journey.items).items()
        ]
        is_filled = any(answer.status == 200 for answer in answers)
        self.buyer_pool.carts[self.journey.number] = cart if is_filled else None
        return cart if is_filled else None

    def _build_order_request(self, cart: str | None) -> dict[str, Any]:
        order_request: dict[str, Any] = {
            "shipping_address": ADDRESS,
            "payment_method": {"provider": "sandbox", "token": self.journey.token},
        }
        if self.journey.customer is None:
            order_request["email"] = build_guest_email(self.buyer_pool.seed, self.journey.number)
        if cart:
            return order_request | {"cart_id": cart}
        return order_request | {"items": [{"sku": sku, "quantity": quantity} for sku, quantity in self.journey.items]}

    def _place_order(self, order_request: dict[str, Any]) -> Response:
        if not self.journey.is_sent_twice:
            return self._send_order(self.client, order_request, "order")
        other = self.buyer_pool.create_client(self.journey.number, self.token, part="duplicate")
        duplicate = threading.Thread(target=self._send_duplicate, args=(other, order_request), daemon=True)
        duplicate.start()
        try:
            return self._send_order(self.client, order_request, "order")
        finally:
            duplicate.join()

    def _send_duplicate(self, client: Client, order_request: dict[str, Any]) -> None:
        try:
            self._send_order(client, order_request, "order")
        except RetriesExhausted:
            return

    def _send_order(self, client: Client, order_request: dict[str, Any], purpose: str) -> Response:
        return client.send(purpose, "POST", API + "orders", order_request, self.key)

    def _answer_challenge(self, answer: Response) -> None:
        """Approve or decline the payment on the provider's page."""
        action = answer.body["payment"]["action"]
        if action and self.journey.decision:
            path = urlsplit(action["url"]).path
            if self.journey.decision == "decline":
                path = path.replace("/approve", "/decline")
            self.client.send(self.journey.decision, "POST", path)

    def _cancel(self, order: dict[str, Any]) -> None:
        time.sleep(self.client.rng.choice((0, 0.05, 0.5, 1.0)))  # before, while or after the payment is captured
        self.client.send(
            "cancel", "POST", f"{API}orders/{order['id']}/cancel", None, "", X_Order_Token=order.get("token") or ""
        )

    def _await_capture(self, order: dict[str, Any]) -> None:
        """Read the order until its payment is captured. Faults may delay that; then the refund is refused."""
        for _ in range(MAX_CAPTURE_READS):
            shown = self.client.send(
                "read", "GET", f"{API}orders/{order['id']}", None, "", X_Order_Token=order.get("token") or ""
            )
            if shown.body["payment"]["status"] not in ("authorized", "capturing"):
                return
            time.sleep(CAPTURE_READ_INTERVAL_SECONDS)

    def _refund(self, order: dict[str, Any]) -> None:
        """Refund a part of the payment or all of it, as staff, once it is captured."""
        self._await_capture(order)
        body: dict[str, Any] = {"reason": "A scratch."}
        if self.client.rng.random() < 0.5:
            total = order["totals"]["total"]
            body["amount"] = total | {"amount": max(1, total["amount"] // 3)}
        staff = self.buyer_pool.create_client(self.journey.number, self.buyer_pool.staff, part="staff")
        staff.send("refund", "POST", f"{API}payments/{order['payment']['id']}/refunds", body, f"{self.key}-refund")


def build_order_key(seed: int, number: int) -> str:
    """Return the Idempotency-Key of a journey's order."""
    return f"soak-{seed}-order-{number:06}"


def build_guest_email(seed: int, number: int) -> str:
    return f"guest-{seed}-{number}@example.com"


def build_customer_email(number: int) -> str:
    return f"customer-{number}@example.com"
