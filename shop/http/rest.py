"""REST conventions: JSON in, service call, JSON out; errors as RFC 9457 problems; every type a msgspec struct.

    class OrderList(View):
        @endpoint(access=ANYONE, body=PlaceOrder, responses={201: OrderView, 202: OrderView}, idempotency="required")
        def post(self, request, body, key): ...

The structs that are decoded and encoded are also the schemas of the OpenAPI document.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial, wraps
from typing import Annotated, Any, Literal, TypeVar, cast

import msgspec
from django.http import HttpResponse
from django.utils.http import parse_etags
from drf_spectacular.utils import extend_schema
from rest_framework.authentication import BaseAuthentication
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from shop import sizes
from shop.clients import set_account
from shop.decoders import warm_up_decoders
from shop.errors import Forbidden, Unauthenticated
from shop.http import idempotency, present_permissions, tokens
from shop.http.field_errors import find_lenient_structs
from shop.http.openapi import Html as Html  # for declarations of endpoints
from shop.http.openapi import describe_endpoint
from shop.http.openapi_errors import DeclaredError, list_general_errors
from shop.http.problems import Problem
from shop.http.rate_limits import Limiter, collect_keys
from shop.http.reading import is_body_empty, read_body, read_query, refuse_body, refuse_query
from shop.permissions import register_permission
from shop.text import INVISIBLE_CHARACTERS

T = TypeVar("T")

# Reusable field types. In Python a bare $ also matches before a newline at the end, hence the look-ahead.
Sku = Annotated[
    str,
    msgspec.Meta(
        max_length=sizes.SKU_LENGTH,
        pattern=r"^[A-Za-z0-9._-]+$(?!\n)",
        extra={"expected": "letters, digits, dots, underscores and hyphens", "content": "code"},
    ),
]
_EMAIL_CHARACTER = rf"[^@\s<>,;\"\u200c\u200d{INVISIBLE_CHARACTERS}]"
Email = Annotated[
    str,
    msgspec.Meta(
        max_length=sizes.EMAIL_LENGTH,
        pattern=rf"^{_EMAIL_CHARACTER}{{1,64}}@{_EMAIL_CHARACTER}+\.[^@\s<>,;\".\u200c\u200d{INVISIBLE_CHARACTERS}]{{2,63}}$(?!\n)",
        extra={"expected": "an e-mail address such as ada@example.com", "content": "email"},
    ),
]
Text = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=sizes.TEXT_LENGTH,
        pattern=rf"^ *[^\s{INVISIBLE_CHARACTERS}][^{INVISIBLE_CHARACTERS}]*$(?!\n)",
        extra={"expected": "visible characters in one line"},
    ),
]
Currency = Annotated[
    str,
    msgspec.Meta(
        max_length=sizes.CURRENCY_LENGTH,
        pattern=r"^[A-Z]{3}$(?!\n)",
        extra={"expected": "an ISO 4217 code such as EUR"},
    ),
]


class Anyone:
    """Access for every caller, signed in or not."""

    permission = ""
    requires_sign_in = False

    def check(self, request: Request) -> None:
        """Raise Unauthenticated or Forbidden if the caller has no access."""


class SignedIn(Anyone):
    """Access for callers with a valid access token."""

    requires_sign_in = True

    def check(self, request: Request) -> None:
        if not request.user.is_authenticated:
            raise Unauthenticated


class Staff(SignedIn):
    """Access for callers whose token grants a permission.

    recheck: also ask users whether the caller still has it, and whether the session has not ended: for what moves money.
    """

    def __init__(self, permission: str, *, recheck: bool = False) -> None:
        self.permission, self.recheck = register_permission(permission), recheck

    def check(self, request: Request) -> None:
        super().check(request)
        caller = cast(tokens.Caller, request.user)
        if not caller.has_perm(self.permission):
            raise Forbidden
        if self.recheck and not present_permissions.read(caller).has_perm(self.permission):
            raise Forbidden


ANYONE, CUSTOMER = Anyone(), SignedIn()


class AnonymousCaller:
    """A caller without an access token."""

    id = None
    is_authenticated = is_staff = is_active = False

    def has_perm(self, permission: str) -> bool:
        return False

    def has_module_perms(self, context: str) -> bool:
        return False


class BearerAuthentication(BaseAuthentication):
    """`Authorization: Bearer <access token>` (RFC 6750)."""

    def authenticate(self, request: Request) -> tuple[tokens.Caller, None] | None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if not scheme:
            return None
        if scheme.lower() != "bearer":
            raise Unauthenticated().because("other_scheme")
        caller = tokens.verify(token.strip())
        set_account(caller.id)
        return caller, None

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class JsonOnlyNegotiation(BaseContentNegotiation):
    """Respond in JSON, whatever the Accept header requests."""

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> None:
        return None

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        return JSONRenderer(), "application/json"


class View(APIView):
    """Base class of every API view. Declare its methods with `endpoint`."""

    authentication_classes = [BearerAuthentication]
    permission_classes = []  # `endpoint` checks access: it has a required argument for it
    content_negotiation_class = JsonOnlyNegotiation
    metadata_class = None  # no OPTIONS: the OpenAPI document describes the API
    context = ""  # the database of idempotency keys and rate limits; set by the base view of each context
    limiter: Limiter | None = None  # of this request

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        """Add the RateLimit headers to responses and problems of a limited request."""
        response = super().finalize_response(request, response, *args, **kwargs)
        for name, value in (self.limiter.build_headers() if self.limiter else {}).items():
            response.headers[name] = value
        return response


IdempotencyMode = Literal["none", "local", "handled_by_use_case", "required"]
CountLimits = Literal["before_the_method", "by_use_case"]
ApiMethod = Callable[..., object]


def endpoint(
    *,
    access: Anyone,
    responses: Mapping[int, object],
    errors: Iterable[DeclaredError] = (),
    body: Any = None,  # any type that msgspec decodes, which includes unions and Any
    query: type[msgspec.Struct] | None = None,
    idempotency: IdempotencyMode = "local",
    headers: Mapping[str, str] | None = None,
    raw_body: bool = False,
    limits: tuple[str, ...] = (),
    failure_limits: tuple[str, ...] = (),
    count_limits: CountLimits = "before_the_method",
    body_is_optional: bool = False,
) -> Callable[[ApiMethod], Callable[..., HttpResponse]]:
    """Declare an API method: its access, what it reads, and its responses.

    responses: body type by status, None for an empty body. The first status is used unless the method returns an
    HttpResponse.
    errors: the domain errors of the use case; with a status where it is not that of the error. Errors that follow from the
    other arguments are added.
    idempotency: how a POST uses an Idempotency-Key. `local`: the key is stored in the transaction of the effect, so the
    method must not call other contexts. `handled_by_use_case`, `required`: the method receives it as
    `key` and passes it to the use case.
    raw_body: the method reads the body itself, as the webhook of a provider does, and ignores query parameters. Other
    methods without a body or a query refuse one.
    headers: descriptions of other request headers that the method reads, for the OpenAPI document.
    limits: names of the rate limits that apply; the setting of `orders` is RATE_LIMIT_ORDERS.
    failure_limits: those that count failed requests only; with `by_use_case`, which reports whether the request failed.
    count_limits: `by_use_case`: the method receives the `limiter` and passes it to the use case, which counts.
    body_is_optional: the method receives None for a request without a body, or with one that names no member.
    """

    def decorate(method: ApiMethod) -> Callable[..., HttpResponse]:
        if lenient := find_lenient_structs(body, query):
            raise TypeError(f"{method.__qualname__} would ignore unknown members: derive {lenient} from RequestBody")
        warm_up_decoders(body, query)
        mode = idempotency if method.__name__ == "post" else "none"
        options = (raw_body, limits, failure_limits, count_limits, body_is_optional, tuple(headers or ()))
        declared = _Endpoint(method, access, next(iter(responses)), body, query, mode, *options)

        @extend_schema(**declared.describe(responses, headers or {}))
        @wraps(method)
        def run(view: View, request: Request, **arguments: object) -> HttpResponse:
            return declared.run(view, request, arguments)

        run.access, run.reads = access, (body, query)  # type: ignore[attr-defined]  # read by tests of all routes
        run.body_is_optional = body_is_optional  # type: ignore[attr-defined]  # see `openapi.Schema`
        run.errors = declared.list_errors(errors)  # type: ignore[attr-defined]  # see `openapi.Schema`
        return run

    return decorate


@dataclass(frozen=True)
class _Endpoint:
    """Run an API method: check access, read the request, apply the idempotency key, build the response."""

    method: ApiMethod
    access: Anyone
    status: int
    body: Any  # as in `endpoint`
    query: type[msgspec.Struct] | None
    idempotency: IdempotencyMode
    raw_body: bool
    limits: tuple[str, ...] = ()
    failure_limits: tuple[str, ...] = ()
    count_limits: CountLimits = "before_the_method"
    body_is_optional: bool = False
    headers: tuple[str, ...] = ()

    def run(self, view: View, request: Request, arguments: dict[str, object]) -> HttpResponse:
        self.access.check(request)
        self._read(request, arguments)
        if self.limits or self.failure_limits:
            self._apply_limits(view, request, arguments)
        if self.idempotency == "none":
            return self._respond(view, request, arguments)
        key = idempotency.read_key(request, arguments.get("body"), required=self.idempotency == "required")
        if self.idempotency != "local":
            return self._respond(view, request, arguments | {"key": key})
        if key is None:
            return self._respond(view, request, arguments)
        return idempotency.respond_once(view.context, key, partial(self._respond, view, request, arguments))

    def describe(self, responses: Mapping[int, object], headers: Mapping[str, str]) -> dict[str, Any]:
        """Return the arguments of `extend_schema`, for the OpenAPI document."""
        return describe_endpoint(
            self.method,
            responses=responses,
            problem=Problem,
            body=self.body,
            query=self.query,
            idempotency=self.idempotency,
            headers=headers,
        )

    def list_errors(self, errors: Iterable[DeclaredError]) -> list[DeclaredError]:
        """Return these errors of the use case, and those of the request."""
        general = list_general_errors(
            reads_body=not self.raw_body and self.method.__name__ != "get",
            reads_query=not self.raw_body,
            uses_key=self.idempotency != "none",
            requires_key=self.idempotency == "required",
            is_limited=bool(self.limits or self.failure_limits),
        )
        return [*errors, *general, *([Forbidden] if self.access.permission else [])]

    def _read(self, request: Request, arguments: dict[str, object]) -> None:
        """Read query and body, and refuse what the method would ignore."""
        if self.query is not None:
            arguments["query"] = read_query(request, self.query)
        elif not self.raw_body:
            refuse_query(request, self.headers)
        if self.body is not None:
            arguments["body"] = self._read_body(request)
        elif not self.raw_body and request.method not in ("GET", "HEAD"):
            refuse_body(request)

    def _read_body(self, request: Request) -> object:
        """Decode the body. None stands for an optional body that names no member, so that both have one fingerprint."""
        if self.body_is_optional and is_body_empty(request):
            return None
        body: object = read_body(request, self.body)
        return None if self.body_is_optional and body == self.body() else body

    def _apply_limits(self, view: View, request: Request, arguments: dict[str, object]) -> None:
        keys = collect_keys(request._request, request.user, arguments.get("body"))
        view.limiter = Limiter(view.context, self.limits, keys, self.failure_limits)
        if self.count_limits == "by_use_case":
            arguments["limiter"] = view.limiter
        else:
            view.limiter.count()

    def _respond(self, view: View, request: Request, arguments: dict[str, object]) -> HttpResponse:
        result = self.method(view, request, **arguments)
        return result if isinstance(result, HttpResponse) else respond(result, self.status)


def respond(result: object, status: int = 200, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """Build a JSON response. None is an empty body."""
    content = b"" if result is None else msgspec.json.encode(result)
    return HttpResponse(content, status=status, content_type="application/json", headers=headers)


IF_MATCH_HEADER = {"If-Match": "The ETag that was read: 412 if the resource was changed meanwhile. Optional."}


def read_if_match(request: Request) -> str:
    """Return the versions of `If-Match`, with commas between them, as `assert_version` compares them. Empty: any version.

    A tag that is weak or malformed matches no version (RFC 9110, 13.1.1).
    """
    header = request.headers.get("If-Match", "").strip()
    if header in ("", "*"):
        return ""
    return ",".join(tag.strip('"') if tag.startswith('"') else "weak" for tag in parse_etags(header)) or "malformed"


def respond_with_version(result: object, version: str) -> HttpResponse:
    """Build a JSON response with the version of its resource as ETag, for the `If-Match` of a later change."""
    return respond(result, headers={"ETag": f'"{version}"'})


def replay_response(outcome: idempotency.Outcome) -> HttpResponse:
    """Build the stored final response of an idempotency key, byte for byte."""
    content_type = "application/json" if outcome.status < 400 else "application/problem+json"
    return HttpResponse(outcome.body, status=outcome.status, content_type=content_type)
