"""HTTP conventions: JSON in, service call, JSON out; errors as RFC 9457 problems; every type a msgspec struct.

    class OrderList(View):
        @endpoint(who=ANYONE, body=PlaceOrder, answers={201: OrderView, 202: OrderView}, key="required")
        def post(self, request, body, key): ...

The struct that is decoded, or encoded, is also the schema that the OpenAPI document shows.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, wraps
from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec
import structlog
from django.core.exceptions import (
    ValidationError,
)
from django.db import DataError
from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import NotFound as NoPage
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.pagination import CursorPagination
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.views import APIView

from shop import idempotency, tokens
from shop.errors import Forbidden, Unauthenticated
from shop.events import understood
from shop.openapi import description
from shop.problems import BadBody, BadQuery, Problem
from shop.shapes import learn

log = structlog.get_logger(__name__)
T = TypeVar("T")

# Reusable field types. In Python a bare $ also matches before a newline at the end, hence the look-ahead.
Quantity = Annotated[int, msgspec.Meta(ge=1, le=10_000)]
Sku = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{1,64}$(?!\n)")]
# What cannot be seen, controls and marks of width and direction, would make one address look like another.
_UNSEEN = r"\x00-\x1f\x7f-\x9f\xad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
_NAME = rf"[^@\s<>,;\"{_UNSEEN}]"
Email = Annotated[str, msgspec.Meta(pattern=rf"^{_NAME}{{1,64}}@{_NAME}{{1,185}}\.[^@\s<>,;\".{_UNSEEN}]{{2,63}}$(?!\n)")]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
PageCursor = Annotated[str, msgspec.Meta(max_length=1000, pattern=r"^[A-Za-z0-9+/]*={0,2}$(?!\n)")]


class Page(msgspec.Struct, Generic[T]):
    """One page of a list, and the addresses of its neighbours."""

    results: list[T]
    next: str | None = None
    previous: str | None = None


class PageQuery(msgspec.Struct, kw_only=True):
    """Which page of a list."""

    page_size: Annotated[int, msgspec.Meta(ge=1, le=10_000, description="More than 100 are cut to 100.")] = 20
    cursor: Annotated[PageCursor, msgspec.Meta(description="From `next` or `previous` of a page.")] = ""


class Anyone:
    """Whoever calls, signed in or not."""

    permission = ""

    def check(self, request: Request) -> None:
        """Raise Unauthenticated or Forbidden for who may not."""


class SignedIn(Anyone):
    """A caller with a valid access token."""

    def check(self, request: Request) -> None:
        if not request.user.is_authenticated:
            raise Unauthenticated


class Staff(SignedIn):
    """A caller whose token carries a permission."""

    def __init__(self, permission: str) -> None:
        self.permission = permission

    def check(self, request: Request) -> None:
        super().check(request)
        if not request.user.has_perm(self.permission):
            raise Forbidden


ANYONE, CUSTOMER = Anyone(), SignedIn()


class Nobody:
    """A caller without a token."""

    id = None
    is_authenticated = is_staff = is_active = False

    def has_perm(self, permission: str) -> bool:
        return False

    def has_module_perms(self, context: str) -> bool:
        return False


class Bearer(BaseAuthentication):
    """`Authorization: Bearer <access token>` (RFC 6750)."""

    def authenticate(self, request: Request) -> tuple[tokens.Caller, None] | None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if not scheme:
            return None
        if scheme.lower() != "bearer":
            raise Unauthenticated
        return tokens.verify(token.strip()), None

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class AlwaysJson(BaseContentNegotiation):
    """There is one representation; Accept does not choose."""

    def select_parser(self, request: Request, parsers: list) -> None:
        return None

    def select_renderer(self, request: Request, renderers: list, format_suffix: str | None = None) -> tuple:
        return JSONRenderer(), "application/json"


class View(APIView):
    """What every API view of every context stands on. Its methods are `@endpoint`s."""

    authentication_classes = [Bearer]
    permission_classes = []  # each endpoint says who may call it; `endpoint` has no default
    content_negotiation_class = AlwaysJson
    metadata_class = None  # no OPTIONS: the OpenAPI document says what there is
    context = ""  # whose database keeps the idempotency keys; set by the context's own base view


def endpoint(
    *,
    who: Anyone,
    answers: dict[int, Any],
    body: Any = None,
    query: Any = None,
    key: Literal["none", "local", "own", "required"] = "local",
    headers: dict[str, str] | None = None,
) -> Callable:
    """Declare an API method: who may call it, what it reads, what it answers (the first status unless it says so).

    key: what a POST does with an Idempotency-Key. `local`: kernel and effect share one transaction, so the method
    calls no other context. `own`, `required`: handed to the method as `key`, which passes it to the use case.
    headers: what other headers of the request the method reads, and what they say; for the OpenAPI document.
    """

    understood(body, query, *answers.values())

    def decorate(method: Callable) -> Callable:
        learn(body, query)
        use = key if method.__name__ == "post" else "none"
        declared = _Endpoint(method, who, next(iter(answers)), body, query, use)
        public = type(who) is Anyone
        shown = description(
            method, public=public, answers=answers, problem=Problem, body=body, query=query, key=use, headers=headers or {}
        )

        @extend_schema(**shown)
        @wraps(method)
        def run(view: View, request: Request, **given: Any) -> HttpResponse:
            return declared.run(view, request, given)

        run.who = who  # type: ignore[attr-defined]
        return run

    return decorate


@dataclass(frozen=True)
class _Endpoint:
    """What runs around an API method."""

    method: Callable
    who: Anyone
    status: int
    body: Any
    query: Any
    key: str

    def run(self, view: View, request: Request, given: dict[str, Any]) -> HttpResponse:
        self.who.check(request)
        if self.query is not None:
            given["query"] = read_query(request, self.query)
        if self.body is not None:
            given["body"] = read_body(request, self.body)
        if self.key == "none":
            return self.answer(view, request, given)
        key = idempotency.key_of(request, given.get("body"), required=self.key == "required")
        if self.key != "local":
            return self.answer(view, request, given | {"key": key})
        if key is None:
            return self.answer(view, request, given)
        return idempotency.answer_once(view.context, key, partial(self.answer, view, request, given))

    def answer(self, view: View, request: Request, given: dict[str, Any]) -> HttpResponse:
        result = self.method(view, request, **given)
        return result if isinstance(result, HttpResponse) else respond(result, self.status)


def respond(result: Any, status: int = 200, headers: dict[str, str] | None = None) -> HttpResponse:
    """A JSON answer; None is an empty one."""
    content = b"" if result is None else msgspec.json.encode(result)
    return HttpResponse(content, status=status, content_type="application/json", headers=headers)


def repeat(known: idempotency.Known) -> HttpResponse:
    """The stored final answer of a key, to the byte."""
    kind = "application/json" if (known.status or 0) < 400 else "application/problem+json"
    return HttpResponse(known.body, status=known.status, content_type=kind)


_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


def read_body(request: Request, type_: Any) -> Any:
    """The request's JSON as `type_`. Raises BadBody for anything else, naming the place, and TooLarge."""
    data = request._request.body
    if _NUL.search(data):
        raise BadBody(why="The text holds a NUL character.")
    try:
        return msgspec.json.decode(data, type=type_)
    except RecursionError:
        raise BadBody(why="The JSON is nested too deeply.") from None
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise BadBody(why=str(error)) from None


def read_query(request: Request, type_: Any) -> Any:
    """The query string as `type_`. Raises BadQuery."""
    given = {name: value for name, value in request.query_params.items() if value != ""}
    if any("\0" in value for value in given.values()):
        raise BadQuery(why="The text holds a NUL character.")
    try:
        return msgspec.convert(given, type=type_, strict=False)
    except msgspec.ValidationError as error:
        raise BadQuery(why=str(error)) from None


class Cursor(CursorPagination):
    """Keyset pages: as quick at the end of a long list as at its beginning, and no COUNT."""

    page_size = 20
    page_size_query_param = "page_size"
    max_page_size = 100


def page(request: Request, rows: Any, *, ordering: tuple[str, ...], to_view: Callable[[list], list[T]]) -> Page[T]:
    """One page of a queryset (or its `.values()`), each page's rows through `to_view`. Raises BadQuery for a bad cursor."""
    cursor = Cursor()
    cursor.ordering = ordering
    try:
        found = cursor.paginate_queryset(rows.order_by(*ordering), request)
    except (NoPage, ValueError, TypeError, ValidationError, DataError):
        raise BadQuery(why="This cursor is not one of ours.") from None
    return Page(results=to_view(found), next=cursor.get_next_link(), previous=cursor.get_previous_link())
