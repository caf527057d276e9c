"""The actions of docs/outages.md: prepared while every context is up, performed during an outage and after it."""

import re
import uuid
from collections.abc import Callable
from copy import copy
from http.client import HTTPException
from typing import Any
from urllib.parse import urlencode, urlsplit

from django.contrib.sessions.backends.signed_cookies import SessionStore
from django.core.management import call_command

from config.admin_site import SESSION_TOKEN_KEY
from contexts.users.models import User
from contexts.users.service import staff_sessions
from tests.concurrency import eventually
from tests.factories import create_sku
from tests.journeys.split import RoutedShopper, SplitShop
from tests.shopper import PASSWORD, Response, Shopper

UNITS = 10
FORM = "application/x-www-form-urlencoded"


class Actors:
    """A guest, a customer and a member of staff, the last two signed in."""

    def __init__(self, shop: SplitShop) -> None:
        self.guest, self.customer, self.staff = RoutedShopper(shop), RoutedShopper(shop), RoutedShopper(shop)
        self.customer_email = self.customer.register()
        self.staff_email = f"{uuid.uuid4().hex}@example.com"
        call_command("create_staff", email=self.staff_email, password=PASSWORD)
        account = {"email": self.staff_email, "password": PASSWORD}
        self.staff.token = self.staff.post("auth/token", account).body["access"]
        self.front = Shopper(shop.site("orders"))  # serves the admin, as behind the gateway
        self.form = re.findall(r"csrftoken=(\w+)", self.front.get("/admin/login/").headers["set-cookie"])[0]

    def with_timeout(self, seconds: float) -> "Actors":
        """Return a copy whose requests time out after this long."""
        actors = copy(self)
        for name in ("guest", "customer", "staff", "front"):
            shopper = copy(getattr(self, name))
            shopper.timeout = seconds
            setattr(actors, name, shopper)
        return actors

    def build_session_cookie(self) -> str:
        """Build the cookie of a session in the admin."""
        store = SessionStore()
        store[SESSION_TOKEN_KEY] = staff_sessions.start(User.objects.get(email=self.staff_email)).token
        store.save()
        return f"sessionid={store.session_key}"


class PreparedActions:
    """The requests of one outage, one for each column of the table. A repeated action sends the same request again."""

    def __init__(self, actors: Actors) -> None:
        self.actors = actors
        self.sku, self.email, self.key = create_sku(UNITS), f"{uuid.uuid4().hex}@example.com", uuid.uuid4().hex
        self.cart = actors.guest.post("carts").body["id"]
        self.waiting = actors.guest.order(self.sku, token="tok_requires_action").body
        self.paid = actors.guest.order(self.sku).body
        eventually(lambda: self._is_captured(self.paid))
        self.session = actors.build_session_cookie()

    def perform(self, column: str, timeout: float = 30.0) -> Response | None:
        """Send the request of a column. Returns None if there is no response within `timeout` seconds."""
        limited = copy(self)
        limited.actors = self.actors.with_timeout(timeout)
        action: Callable[[], Response] = getattr(limited, column)
        try:
            return action()
        except (OSError, HTTPException):
            return None

    def browse(self) -> Response:
        return self.actors.guest.get("products?in_stock=true&page_size=5")

    def put_into_cart(self) -> Response:
        return self.actors.guest.send("PUT", f"carts/{self.cart}/items/{self.sku}", {"quantity": 2})

    def order(self) -> Response:
        return self.actors.guest.order(self.sku, email=self.email, key=f"{self.key}-guest")

    def order_of_customer(self) -> Response:
        return self.actors.customer.order(self.sku, email=None, key=f"{self.key}-customer")

    def pay(self) -> Response:
        return self.actors.guest.post(urlsplit(self.waiting["payment"]["action"]["url"]).path)

    def refund(self) -> Response:
        return self.actors.staff.post(
            f"payments/{self.paid['payment']['id']}/refunds",
            {"reason": "A scratch."},
            Idempotency_Key=f"{self.key}-refund",
        )

    def sign_in(self) -> Response:
        form = {"username": self.actors.staff_email, "password": PASSWORD, "csrfmiddlewaretoken": self.actors.form}
        cookie = f"csrftoken={self.actors.form}"
        return self.actors.front.post("/admin/login/", urlencode(form).encode(), Cookie=cookie, Content_Type=FORM)

    def admin(self) -> Response:
        return self.actors.front.get("/admin/orders/order/", Cookie=self.session)

    def is_paid(self) -> Any:
        """Return whether the order whose customer approved the payment is paid."""
        return self._is_captured(self.waiting)

    def _is_captured(self, order: dict[str, Any]) -> bool:
        return self.actors.guest.get_order(order)["payment"]["status"] == "captured"
