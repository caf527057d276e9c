"""The pages of the sandbox provider: its customer approves or declines, and staff move money as its dashboard would."""

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from django.conf import settings
from django.http import HttpResponse, HttpResponseRedirect
from django.template import Context, Engine
from django.utils.http import url_has_allowed_host_and_scheme
from rest_framework.request import Request

from contexts.payments import providers
from contexts.payments.interface import PaymentStatus
from contexts.payments.providers import sandbox
from contexts.payments.service import operations
from shop.errors import FieldError, Invalid, NotFound
from shop.http.reading import RequestBody
from shop.http.rest import ANYONE, Html, Staff, View, endpoint
from shop.http.security_headers import allow_form_redirect
from shop.money import MAX_AMOUNT, Money

_templates = Engine(dirs=[str(Path(__file__).parent.parent / "templates" / "payments")])
_LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "::1")


class Decision(msgspec.Struct):
    """The status of a payment after the customer's decision."""

    reference: str
    status: PaymentStatus


class PageQuery(msgspec.Struct, forbid_unknown_fields=True):
    """The address to which the customer is sent after the decision."""

    return_url: Annotated[
        str, msgspec.Meta(max_length=1000, description="An address of this shop, or of a storefront that it knows.")
    ] = ""


class MovementRequest(RequestBody):
    """Something that happens at the provider without a request of the shop.

    amount: in minor units; without it, all that remains. notify: whether the provider reports it at once; otherwise the
    shop learns it when it next compares the payment with the provider.
    """

    movement: sandbox.Movement
    amount: Annotated[int, msgspec.Meta(ge=1, le=MAX_AMOUNT)] | None = None
    notify: bool = True


class ReturnUrlNotAllowed(Invalid):
    """The return_url must be an address of this shop or of a storefront that it knows."""


PAGE_ERRORS = (NotFound, sandbox.NoSuchIntent, ReturnUrlNotAllowed)


class SandboxView(View):
    """The base of the sandbox's pages, which exist only where the shop uses this provider."""

    context = "payments"


class Approve(SandboxView):
    @endpoint(access=ANYONE, query=PageQuery, responses={200: Html}, errors=PAGE_ERRORS, idempotency="none")
    def get(self, request: Request, reference: str, query: PageQuery) -> HttpResponse:
        """Show the sandbox's page, on which a customer approves or declines a payment.

        The page stands for the provider's own (3-D Secure). It changes nothing.
        """
        return _show_page(reference, query)

    @endpoint(
        access=ANYONE,
        query=PageQuery,
        responses={200: Decision, 303: None},
        errors=(*PAGE_ERRORS, sandbox.NoActionNeeded),
        idempotency="none",
    )
    def post(self, request: Request, reference: str, query: PageQuery) -> Decision | HttpResponse:
        """Approve a payment at the sandbox, while it waits for its customer.

        A browser's form is redirected to the return_url, or gets a page.
        """
        _check_return_url(query)
        _get_sandbox().approve(reference=reference)
        return _report_decision(request, reference, query)


class Decline(SandboxView):
    @endpoint(access=ANYONE, query=PageQuery, responses={200: Html}, errors=PAGE_ERRORS, idempotency="none")
    def get(self, request: Request, reference: str, query: PageQuery) -> HttpResponse:
        """Show the sandbox's page, as `approve` does. It changes nothing."""
        return _show_page(reference, query)

    @endpoint(
        access=ANYONE,
        query=PageQuery,
        responses={200: Decision, 303: None},
        errors=(*PAGE_ERRORS, sandbox.NoActionNeeded),
        idempotency="none",
    )
    def post(self, request: Request, reference: str, query: PageQuery) -> Decision | HttpResponse:
        """Decline a payment at the sandbox, while it waits for its customer."""
        _check_return_url(query)
        _get_sandbox().decline(reference=reference)
        return _report_decision(request, reference, query)


class Movements(SandboxView):
    @endpoint(
        access=Staff("payments.refund", recheck=True),
        body=MovementRequest,
        responses={200: Decision},
        errors=(NotFound, sandbox.NoSuchIntent, sandbox.MovementImpossible),
        idempotency="none",
    )
    def post(self, request: Request, reference: str, body: MovementRequest) -> Decision:
        """Move money at the sandbox without a request of the shop.

        It stands for the provider's dashboard and the customer's bank: a refund, a dispute, a capture or a void that the
        shop did not request.
        """
        _get_sandbox().move_money(reference=reference, movement=body.movement, amount=body.amount)
        find = operations.sync_by_reference if body.notify else operations.get_by_reference
        return Decision(reference, find(reference).status)


def _get_sandbox() -> sandbox.Sandbox:
    if providers.find("sandbox") is not sandbox.provider:
        raise NotFound
    return sandbox.provider


def _show_page(reference: str, query: PageQuery) -> HttpResponse:
    _check_return_url(query)
    state = _get_sandbox().describe(reference=reference)
    response = _render(
        "sandbox.html",
        reference=reference,
        amount=str(Money(state.amount, state.currency)),
        is_waiting=state.is_waiting,
        status=state.status,
        return_url=query.return_url,
    )
    if query.return_url:
        allow_form_redirect(response, query.return_url)
    return response


def _report_decision(request: Request, reference: str, query: PageQuery) -> Decision | HttpResponse:
    """Redirect a browser that sent the form of the page, or show it the outcome; answer any other client in JSON."""
    status = operations.sync_by_reference(reference).status
    if not _is_browser(request):
        return Decision(reference, status)
    if query.return_url:
        response = HttpResponseRedirect(query.return_url)
        response.status_code = 303  # the browser continues with GET
        return response
    return _render("sandbox_done.html", status=status.value)


def _is_browser(request: Request) -> bool:
    is_form = request.headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded")
    return is_form or "text/html" in request.headers.get("Accept", "")


def _render(template: str, **values: object) -> HttpResponse:
    html = _templates.get_template(template).render(Context({"static_url": settings.STATIC_URL, **values}))
    return HttpResponse(html)


def _check_return_url(query: PageQuery) -> None:
    """Refuse to redirect to strangers, who could abuse the shop's name. Raises ReturnUrlNotAllowed."""
    if query.return_url and not _is_allowed(query.return_url):
        refusal = ReturnUrlNotAllowed()
        fault = FieldError(parameter="return_url", code=refusal.code, detail=str(refusal))
        raise refusal.with_field_errors([fault])


def _is_allowed(return_url: str) -> bool:
    """Return whether an address is absolute, and its host one of this shop, of a storefront, or of this computer."""
    try:
        url = urlsplit(return_url)
        host = url.hostname
    except ValueError:
        return False
    known = (settings.SITE_URL, *getattr(settings, "CORS_ALLOWED_ORIGINS", ()))
    is_known = f"{url.scheme}://{url.netloc}" in {f"{a.scheme}://{a.netloc}" for a in map(urlsplit, known)}
    # A browser reads a backslash as a slash, so that another host may follow from it.
    reads_alike = url_has_allowed_host_and_scheme(return_url, {url.netloc})
    return bool(url.scheme) and reads_alike and (is_known or host in _LOOPBACK_HOSTS)
