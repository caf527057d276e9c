"""A few addresses of the tests' own."""

from typing import Annotated, Any

import msgspec
from django.http import HttpRequest, HttpResponse
from django.urls import path

from config.health import health, ready
from shop import idempotency
from shop.audit import audit
from shop.database import rows, transaction
from shop.errors import TooManyRequests, Unavailable
from shop.ids import uuid7
from shop.rest import ANYONE, CUSTOMER, Quantity, Sku, Staff, Text, View, endpoint, respond

executed: list[str] = []


class Order(msgspec.Struct):
    """What is asked for."""

    sku: Sku
    quantity: Quantity = 1
    note: Text | None = None
    email: str = ""


class Answer(msgspec.Struct):
    """What came of it."""

    id: str
    sku: str = ""


class Wish(msgspec.Struct):
    """What is looked for."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 20
    search: Annotated[str, msgspec.Meta(max_length=20)] = ""


class Api(View):
    context = "orders"


def execute(body: Order) -> Answer:
    executed.append(body.sku)
    with transaction("orders"):
        made = str(uuid7())
        audit("orders", actor="test", action="execute", object_type="execution", object_id=body.sku)
    return Answer(id=made, sku=body.sku)


class Executions(Api):
    @endpoint(who=ANYONE, body=Order, answers={201: Answer})
    def post(self, request: HttpRequest, body: Order) -> Answer:
        """Execute."""
        answer = execute(body)
        if body.sku.startswith("fails"):
            raise Unavailable(what="The printer")
        return answer

    @endpoint(who=ANYONE, query=Wish, answers={200: Wish})
    def get(self, request: HttpRequest, query: Wish) -> Wish:
        """Say what was asked."""
        return query


class Required(Api):
    @endpoint(who=ANYONE, body=Order, answers={201: Answer}, key="required")
    def post(self, request: HttpRequest, body: Order, key: idempotency.Key) -> Answer:
        """Execute with a key only."""
        return Answer(id=key.key)


class Unkeyed(Api):
    @endpoint(who=ANYONE, body=Order, answers={201: Answer}, key="none")
    def post(self, request: HttpRequest, body: Order) -> Answer:
        """Execute, whatever the key says."""
        return execute(body)


class Free(Api):
    @endpoint(who=ANYONE, body=Any, answers={200: Any}, key="none")
    def post(self, request: HttpRequest, body: Any) -> Any:
        """Take any JSON."""
        return respond(None, 204)


class Bug(Api):
    @endpoint(who=ANYONE, answers={200: Answer})
    def get(self, request: HttpRequest) -> Answer:
        """Fail."""
        raise RuntimeError("SELECT secret FROM inside")


class Busy(Api):
    @endpoint(who=ANYONE, answers={200: Answer})
    def get(self, request: HttpRequest) -> Answer:
        """Refuse for a while."""
        raise TooManyRequests(retry_after=17)


class Broken(Api):
    @endpoint(who=ANYONE, answers={200: Answer})
    def get(self, request: HttpRequest) -> Answer:
        """Meet a database that does not work."""
        rows("orders", "SET statement_timeout = '5ms'")
        try:
            rows("orders", "SELECT pg_sleep(2)")
        finally:
            rows("orders", "RESET statement_timeout")
        return Answer(id="")


class Customers(Api):
    @endpoint(who=CUSTOMER, answers={200: Answer})
    def get(self, request: HttpRequest) -> Answer:
        """Say who calls."""
        return Answer(id=str(request.user.id), sku=request.user.name)


class Staffs(Api):
    @endpoint(who=Staff("orders.change"), answers={200: Answer})
    def get(self, request: HttpRequest) -> Answer:
        """Say who works here."""
        return Answer(id=str(request.user.id))


def bare_bug(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("SELECT secret FROM inside")


handler400, handler403 = "shop.problems.bad_request", "shop.problems.forbidden"
handler404, handler500 = "shop.problems.not_found", "shop.problems.server_error"
urlpatterns = [
    path("health", health),
    path("ready", ready),
    path("executions", Executions.as_view()),
    path("other-executions", Executions.as_view()),
    path("required", Required.as_view()),
    path("unkeyed", Unkeyed.as_view()),
    path("free", Free.as_view()),
    path("bug", Bug.as_view()),
    path("busy", Busy.as_view()),
    path("broken", Broken.as_view()),
    path("customers", Customers.as_view()),
    path("staff", Staffs.as_view()),
    path("bare-bug", bare_bug),
]
