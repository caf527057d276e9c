"""The admin site. Staff sign in through the interface of users, which has their sessions and is asked at each request."""

from collections.abc import Callable
from functools import partial
from typing import Any, cast

from django import forms
from django.contrib import admin
from django.contrib.admin.forms import AdminAuthenticationForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.decorators import method_decorator
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from config.password_form import PasswordForm
from contexts.users.interface import SignInFailed, users
from shop import audit
from shop.admin.inputs import CheckedForm, find_unacceptable_input, refuses_texts
from shop.admin.lookups import assert_autocomplete_allowed
from shop.admin.parked_events import show_parked_events
from shop.clients import set_account
from shop.db.database import OUTAGE_ERRORS, hosted_contexts
from shop.errors import DomainError, Overloaded, TooManyRequests, Unauthenticated, Unavailable
from shop.http import tokens
from shop.http.error_pages import is_admin_path, render_error_page
from shop.http.rest import AnonymousCaller
from shop.http.tokens import Caller
from shop.security_events import SESSION_USE_AFTER_END
from shop.security_log import log_security_event

SESSION_TOKEN_KEY = "staff_token"
UNAVAILABLE_MESSAGE = "A part of the shop is unavailable. Try again in a few seconds."
RETRY_AFTER_SECONDS = "1"
MAX_RECENT_CHANGES = 10


def get_caller(request: HttpRequest) -> Caller | AnonymousCaller:
    """Return the caller that StaffMiddleware sets on the request instead of Django's user."""
    return cast(Caller | AnonymousCaller, request.user)


class SignInForm(CheckedForm, AdminAuthenticationForm):
    """E-mail address and password, which users checks."""

    refusal: DomainError | None = None
    username = forms.EmailField(label="E-mail address", widget=forms.EmailInput(attrs={"autofocus": True}))

    def clean(self) -> dict[str, Any]:
        email, password = self.cleaned_data.get("username"), self.cleaned_data.get("password")
        if email and password:
            try:
                address = self.request.META.get("REMOTE_ADDR", "") if self.request else ""
                session = users.sign_in_staff(email=email, password=password, address=address)
            except DomainError as error:
                self.refusal = error
                text = UNAVAILABLE_MESSAGE if isinstance(error, Unavailable | Overloaded) else str(error)
                raise forms.ValidationError(text) from None
            self.token = session.token
        return self.cleaned_data


class Site(admin.AdminSite):
    """Serve Django's admin without its tables of users, sessions and log entries."""

    site_header = site_title = "Satsuma"
    index_title = "Shop"
    site_url = None
    index_template = "shop/admin_index.html"
    login_template = "shop/admin_login.html"
    enable_nav_sidebar = False

    def get_urls(self) -> list[Any]:  # as Django declares it
        return [
            path("events/", self.admin_view(refuses_texts(partial(show_parked_events, self))), name="parked_events"),
            # A search is below the path of its context, whose host answers; no page of the shop shows a row.
            path("<slug:context>/autocomplete/", self.admin_view(self.autocomplete_view), name="autocomplete"),
            *(one for one in super().get_urls() if getattr(one, "name", "") not in ("view_on_site", "autocomplete")),
        ]

    def has_permission(self, request: HttpRequest) -> bool:
        return get_caller(request).is_staff

    def autocomplete_view(self, request: HttpRequest, context: str = "") -> HttpResponse:
        """Search rows for a form, only for a field that a table of the context declares and the caller can change."""
        assert_autocomplete_allowed(self, request, context)
        return super().autocomplete_view(request)

    @refuses_texts
    @method_decorator(never_cache)
    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Ask for the e-mail address and password, and store the staff token in the signed session."""
        form = SignInForm(request, data=request.POST or None)
        target = request.GET.get("next") or request.POST.get("next") or reverse("admin:index")
        if not url_has_allowed_host_and_scheme(target, {request.get_host()}):
            target = reverse("admin:index")
        if request.method == "POST" and form.is_valid():
            self._end_session(request)
            request.session.flush()  # against session fixation
            request.session[SESSION_TOKEN_KEY] = form.token
            return HttpResponseRedirect(target)
        variables = {"form": form, "next": target, "title": "Sign in", "app_path": request.path}
        response = TemplateResponse(request, self.login_template, self.each_context(request) | variables)
        if isinstance(form.refusal, Unavailable | Overloaded | TooManyRequests):  # the password was not checked
            response.status_code = form.refusal.status
            response.headers["Retry-After"] = str(getattr(form.refusal, "retry_after", RETRY_AFTER_SECONDS))
        return response

    @method_decorator(never_cache)
    @method_decorator(require_POST)
    def logout(  # type: ignore[override]  # Django declares the class of the response too narrowly
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """End the session and return to the sign-in page. A copy of the cookie is worth nothing then, and the browser
        forgets what it stored of the site.

        Only by POST: a link of another site must not sign staff out.
        """
        self._end_session(request)
        request.session.flush()
        response = redirect("admin:login")
        response.headers["Clear-Site-Data"] = '"cache", "storage"'
        return response

    def _end_session(self, request: HttpRequest) -> None:
        caller = get_caller(request)
        if isinstance(caller, Caller) and caller.session_id:
            users.end_staff_session(user_id=caller.id, session_id=caller.session_id)

    def password_change(  # type: ignore[override]  # Django declares the class of the response too narrowly
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Change the password of the signed-in member of staff. It ends all of their sessions, and begins a new one."""
        caller = cast(Caller, request.user)
        address = request.META.get("REMOTE_ADDR", "")
        form = PasswordForm(caller.id, address, data=request.POST or None)
        if request.method == "POST" and form.is_valid():
            password = form.cleaned_data["new_password1"]
            session = users.sign_in_staff(email=caller.name, password=password, address=address)
            request.session[SESSION_TOKEN_KEY] = session.token
            return redirect("admin:password_change_done")
        variables = {**self.each_context(request), "form": form, "title": "Change password"}
        return TemplateResponse(request, "registration/password_change_form.html", variables)

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """Show the tables of the hosted contexts, and the latest changes that the caller may see."""
        caller = get_caller(request)
        visible = [context for context in hosted_contexts() if caller.has_module_perms(context)]
        entries = [entry for context in visible for entry in audit.list_latest(context)]
        recent = sorted(entries, key=lambda entry: entry.at, reverse=True)[:MAX_RECENT_CHANGES]
        return super().index(request, {"recent": recent})


class StaffMiddleware:
    """Set `request.user` from the session that the signed cookie names. Users knows whether it has ended."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        # Django's types expect its own user class here, get_caller returns ours.
        try:
            request.user = self._authenticate(request) if request.path.startswith("/admin") else AnonymousCaller()  # type: ignore[assignment]
        except Unavailable:
            return _build_unavailable_response()
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Callable[..., object], *_: Any) -> HttpResponse | None:
        """Refuse values that no page of the admin can read, and texts that no table may have."""
        refusal = find_unacceptable_input(request, view) if is_admin_path(request.path) else None
        return render_error_page(refusal) if refusal else None

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Respond with 503 on a page of the admin if a database or a context is unavailable."""
        is_outage = request.path.startswith("/admin") and isinstance(error, OUTAGE_ERRORS)
        return _build_unavailable_response() if is_outage else None

    def _authenticate(self, request: HttpRequest) -> Caller | AnonymousCaller:
        token = request.session.get(SESSION_TOKEN_KEY)
        if not token:
            return AnonymousCaller()
        try:
            user_id, session_id = tokens.read_staff_session(token)
            session = users.renew_staff(user_id=user_id, session_id=session_id)
        except (SignInFailed, Unauthenticated) as error:
            reason = "ended" if isinstance(error, SignInFailed) else error.log_reason or "unreadable"
            log_security_event(SESSION_USE_AFTER_END, reason=reason, path=request.path)
            request.session.flush()
            return AnonymousCaller()
        set_account(user_id)
        return Caller(user_id, session.email, frozenset(session.permissions), session_id)


def _build_unavailable_response() -> HttpResponse:
    return HttpResponse(
        UNAVAILABLE_MESSAGE, status=503, content_type="text/plain", headers={"Retry-After": RETRY_AFTER_SECONDS}
    )


def add_staff_to_context(request: HttpRequest) -> dict[str, Any]:
    """Provide the `user` that the admin's templates expect from Django's auth context processor."""
    return {"user": request.user}
