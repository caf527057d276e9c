"""One of everything that people do in a shop, prepared while all is well, to be asked for while somebody is away."""

import re
import uuid
from collections.abc import Callable
from copy import copy
from datetime import timedelta
from http.client import HTTPException
from typing import Any
from urllib.parse import urlencode, urlsplit

from django.contrib.sessions.backends.signed_cookies import SessionStore
from django.core.management import call_command

from config.admin import SESSION_TOKEN
from contexts.users.models import User
from contexts.users.service import signing
from shop import tokens
from tests.inventory.stock import stocked
from tests.journeys.split import Routed, SplitShop
from tests.shopper import PASSWORD, Answer, Shopper

UNITS = 10
FORM = "application/x-www-form-urlencoded"


class People:
    """A customer and a member of staff, signed in."""

    def __init__(self, shop: SplitShop) -> None:
        self.guest, self.customer, self.staff = Routed(shop), Routed(shop), Routed(shop)
        self.customer_email = self.customer.register()
        self.staff_email = f"{uuid.uuid4().hex}@example.com"
        call_command("create_staff", email=self.staff_email, password=PASSWORD)
        account = {"email": self.staff_email, "password": PASSWORD}
        self.staff.token = self.staff.post("auth/token", account).body["access"]
        self.front = Shopper(shop.site("orders"))  # of the admin, as the gateway has it
        self.form = re.findall(r"csrftoken=(\w+)", self.front.get("/admin/login/").headers["set-cookie"])[0]

    def waiting(self, seconds: float) -> "People":
        """The same, who wait so long for an answer."""
        same = copy(self)
        for name in ("guest", "customer", "staff", "front"):
            one = copy(getattr(self, name))
            one.timeout = seconds
            setattr(same, name, one)
        return same

    def session(self, lasts: timedelta) -> str:
        """The cookie of somebody who signed in at the admin, with a token that ends so."""
        person, store = User.objects.get(email=self.staff_email), SessionStore()
        store[SESSION_TOKEN] = signing.sign(person, kind=tokens.STAFF, lasts=lasts)
        store.save()
        return f"sessionid={store.session_key}"


class Visit:
    """What is asked for, once for each column of the table; a repeat asks for just the same."""

    def __init__(self, people: People) -> None:
        self.people = people
        self.sku, self.email, self.key = stocked(UNITS), f"{uuid.uuid4().hex}@example.com", uuid.uuid4().hex
        self.cart = people.guest.post("carts").body["id"]
        self.waiting = people.guest.order(self.sku, token="tok_requires_action").body
        self.paid = people.guest.order(self.sku).body
        self.valid, self.expired = people.session(timedelta(hours=1)), people.session(timedelta(hours=-1))

    def ask(self, column: str, patience: float = 30.0) -> Answer | None:
        """The answer; None where nobody answers within `patience` seconds."""
        visitor = copy(self)
        visitor.people = self.people.waiting(patience)
        act: Callable[[], Answer] = getattr(visitor, column)
        try:
            return act()
        except (OSError, HTTPException):
            return None

    def browse(self) -> Answer:
        return self.people.guest.get("products?in_stock=true&page_size=5")

    def put_into_cart(self) -> Answer:
        return self.people.guest.send("PUT", f"carts/{self.cart}/items/{self.sku}", {"quantity": 2})

    def order(self) -> Answer:
        return self.people.guest.order(self.sku, email=self.email, key=f"{self.key}-guest")

    def order_of_customer(self) -> Answer:
        return self.people.customer.order(self.sku, email=None, key=f"{self.key}-customer")

    def pay(self) -> Answer:
        return self.people.guest.post(urlsplit(self.waiting["payment"]["action"]["url"]).path)

    def refund(self) -> Answer:
        return self.people.staff.post(
            f"payments/{self.paid['payment']['id']}/refunds", {"reason": "A scratch."}, Idempotency_Key=f"{self.key}-refund"
        )

    def sign_in(self) -> Answer:
        who = {"username": self.people.staff_email, "password": PASSWORD, "csrfmiddlewaretoken": self.people.form}
        cookie = f"csrftoken={self.people.form}"
        return self.people.front.post("/admin/login/", urlencode(who).encode(), Cookie=cookie, Content_Type=FORM)

    def admin(self) -> Answer:
        return self.people.front.get("/admin/orders/order/", Cookie=self.valid)

    def admin_renewed(self) -> Answer:
        return self.people.front.get("/admin/orders/order/", Cookie=self.expired)

    def is_paid(self) -> Any:
        """Whether the order whose customer came back is confirmed and paid."""
        return self.people.guest.look_at(self.waiting)["payment"]["status"] == "captured"
