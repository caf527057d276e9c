"""URLs of the tests: endpoints for each convention and each kind of failure."""

from typing import Annotated, Any

import msgspec
from django.http import HttpRequest, HttpResponse
from django.urls import path

from shop.audit import audit
from shop.db.database import fetch_rows, transaction
from shop.errors import NotFound, TooManyRequests, Unavailable
from shop.http import idempotency
from shop.http.health import health, ready
from shop.http.reading import RequestBody
from shop.http.rest import ANYONE, CUSTOMER, Sku, Staff, Text, View, endpoint, respond
from shop.ids import uuid7
from tests.shop.http.notes import Notes

Quantity = Annotated[int, msgspec.Meta(ge=1, le=10_000)]
executed: list[str] = []


class Order(RequestBody):
    """A request body."""

    sku: Sku
    quantity: Quantity = 1
    note: Text | None = None
    email: str = ""


class Answer(msgspec.Struct):
    """A response body."""

    id: str
    sku: str = ""


class ListQuery(RequestBody):
    """Query parameters of a list."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 20
    search: Annotated[str, msgspec.Meta(max_length=20)] = ""
    maximum: int | None = None
    name: str | None = None


class Api(View):
    context = "orders"


def execute(body: Order) -> Answer:
    executed.append(body.sku)
    with transaction("orders"):
        identifier = str(uuid7())
        audit("orders", actor="test", action="execute", object_type="execution", object_id=body.sku)
    return Answer(id=identifier, sku=body.sku)


class Executions(Api):
    @endpoint(access=ANYONE, body=Order, responses={201: Answer})
    def post(self, request: HttpRequest, body: Order) -> Answer:
        """Execute."""
        answer = execute(body)
        if body.sku.startswith("fails"):
            raise Unavailable(what="The printer")
        return answer

    @endpoint(access=ANYONE, query=ListQuery, responses={200: ListQuery})
    def get(self, request: HttpRequest, query: ListQuery) -> ListQuery:
        """Return the query parameters."""
        return query


class Required(Api):
    @endpoint(access=ANYONE, body=Order, responses={201: Answer}, idempotency="required")
    def post(self, request: HttpRequest, body: Order, key: idempotency.Key) -> Answer:
        """Return the required key."""
        return Answer(id=key.key)


class Unkeyed(Api):
    @endpoint(access=ANYONE, body=Order, responses={201: Answer}, idempotency="none")
    def post(self, request: HttpRequest, body: Order) -> Answer:
        """Execute and ignore the key."""
        return execute(body)


class Free(Api):
    @endpoint(access=ANYONE, body=Any, responses={200: Any}, idempotency="none")
    def post(self, request: HttpRequest, body: Any) -> Any:
        """Accept any JSON."""
        return respond(None, 204)


class Bodyless(Api):
    @endpoint(access=ANYONE, responses={204: None}, idempotency="none")
    def post(self, request: HttpRequest) -> None:
        """Take no body."""


class Raw(Api):
    @endpoint(access=ANYONE, responses={204: None}, idempotency="none", raw_body=True)
    def post(self, request: HttpRequest) -> None:
        """Read the body itself, as the webhook of a provider does."""


class Bug(Api):
    @endpoint(access=ANYONE, responses={200: Answer})
    def get(self, request: HttpRequest) -> Answer:
        """Raise an unexpected error."""
        raise RuntimeError("SELECT secret FROM inside")


class Busy(Api):
    @endpoint(access=ANYONE, responses={200: Answer})
    def get(self, request: HttpRequest) -> Answer:
        """Refuse with a rate limit."""
        raise TooManyRequests(retry_after=17)


class Broken(Api):
    @endpoint(access=ANYONE, responses={200: Answer})
    def get(self, request: HttpRequest) -> Answer:
        """Run into a database error."""
        with transaction("orders"):
            fetch_rows("orders", "SET LOCAL statement_timeout = '5ms'")
            fetch_rows("orders", "SELECT pg_sleep(2)")
        return Answer(id="")


class Customers(Api):
    @endpoint(access=CUSTOMER, responses={200: Answer})
    def get(self, request: HttpRequest) -> Answer:
        """Return the calling customer."""
        return Answer(id=str(request.user.id), sku=request.user.name)


class Staffs(Api):
    @endpoint(access=Staff("orders.change"), responses={200: Answer})
    def get(self, request: HttpRequest) -> Answer:
        """Return the calling member of staff."""
        return Answer(id=str(request.user.id))


def bare_bug(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("SELECT secret FROM inside")


def missing(request: HttpRequest) -> HttpResponse:
    raise NotFound


handler400, handler403 = "shop.http.problems.bad_request", "shop.http.problems.forbidden"
handler404, handler500 = "shop.http.problems.not_found", "shop.http.problems.server_error"
urlpatterns = [
    path("health", health),
    path("ready", ready),
    path("executions", Executions.as_view()),
    path("other-executions", Executions.as_view()),
    path("required", Required.as_view()),
    path("unkeyed", Unkeyed.as_view()),
    path("free", Free.as_view()),
    path("bodyless", Bodyless.as_view()),
    path("raw", Raw.as_view()),
    path("bug", Bug.as_view()),
    path("busy", Busy.as_view()),
    path("broken", Broken.as_view()),
    path("customers", Customers.as_view()),
    path("staff", Staffs.as_view()),
    path("bare-bug", bare_bug),
    path("notes/<str:ordering>", Notes.as_view()),
    path("admin/bug/", bare_bug),
    path("admin/missing/", missing),
]
