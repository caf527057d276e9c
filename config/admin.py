"""The admin site: staff sign in through users, wherever users runs, and carry a short-lived staff token."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.forms import AdminAuthenticationForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.decorators import method_decorator
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache

from contexts.users.interface import SignInFailed, users
from shop import audit, inbox, tokens
from shop.database import OUTAGES, hosted, transaction
from shop.errors import DomainError, Unauthenticated, Unavailable
from shop.rest import Nobody

SESSION_TOKEN = "staff_token"
AWAY = "The shop cannot say at this moment. Try again in a few seconds."
RETRY_AFTER = {"Retry-After": "1"}


class SignInForm(AdminAuthenticationForm):
    """E-mail address and password, checked by users."""

    is_answered = True  # false where nobody could say whether the password is right
    username = forms.EmailField(label="E-mail address", widget=forms.EmailInput(attrs={"autofocus": True}))

    def clean(self) -> dict[str, Any]:
        given = self.cleaned_data
        if given.get("username") and given.get("password"):
            try:
                session = users.sign_in_staff(email=given["username"], password=given["password"])
            except Unavailable:
                self.is_answered = False
                raise forms.ValidationError(AWAY) from None
            except DomainError as error:
                raise forms.ValidationError(str(error)) from None
            self.token = session.token
        return given


class Site(admin.AdminSite):
    """Django's admin, without its tables of users, sessions and log entries."""

    site_header = site_title = "Satsuma"
    index_title = "Shop"
    site_url = None
    index_template = "shop/admin_index.html"
    login_template = "shop/admin_login.html"
    enable_nav_sidebar = False

    def get_urls(self) -> list:
        return [path("events/", self.admin_view(self.parked_events), name="parked_events"), *super().get_urls()]

    def has_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_staff)

    @method_decorator(never_cache)
    def login(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Ask for e-mail address and password, and keep the staff token in the signed session."""
        form = SignInForm(request, data=request.POST or None)
        target = request.GET.get("next") or request.POST.get("next") or reverse("admin:index")
        if not url_has_allowed_host_and_scheme(target, {request.get_host()}):
            target = reverse("admin:index")
        if request.method == "POST" and form.is_valid():
            request.session.flush()  # no fixation: what was before the sign-in ends here
            request.session[SESSION_TOKEN] = form.token
            return HttpResponseRedirect(target)
        shown = {**self.each_context(request), "form": form, "next": target, "title": "Sign in", "app_path": request.path}
        if form.is_answered:
            return TemplateResponse(request, self.login_template, shown)
        return TemplateResponse(request, self.login_template, shown, status=503, headers=RETRY_AFTER)

    @method_decorator(never_cache)
    def logout(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        request.session.flush()
        return redirect("admin:login")

    def index(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        entries = [e for context in hosted() if request.user.has_module_perms(context) for e in audit.latest(context)]
        return super().index(request, {"recent": sorted(entries, key=lambda e: e.at, reverse=True)[:10]})

    def parked_events(self, request: HttpRequest) -> HttpResponse:
        """What handlers gave up on, in every hosted context; to be replayed or discarded."""
        if request.method == "POST":
            self._settle(request)
            return redirect("admin:parked_events")
        seen = [context for context in hosted() if request.user.has_perm(f"{context}.view")]
        parked = [(context, row) for context in seen for row in inbox.parked(context)]
        shown = {**self.each_context(request), "title": "Parked events", "parked": parked}
        return TemplateResponse(request, "shop/admin_parked.html", shown)

    def _settle(self, request: HttpRequest) -> None:
        context, row, what = (request.POST.get(name, "") for name in ("context", "row", "what"))
        reason = request.POST.get("reason", "").strip()
        if context not in hosted() or not request.user.has_perm(f"{context}.change") or not row.isdecimal():
            messages.error(request, "You may not change that.")
        elif what == "discard" and not reason:
            messages.error(request, "Say why it is discarded.")
        else:
            with transaction(context):
                actor = request.user.get_username()
                audit.audit(context, actor=actor, action=f"{what} event", object_type="inboxrow", object_id=row, reason=reason)
                if what == "discard":
                    inbox.discard(context, int(row), reason=reason)
                else:
                    inbox.replay(context, [int(row)])


class StaffMiddleware:
    """`request.user` from the staff token of the signed session; renewed at users when it has run out."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        try:
            request.user = self._staff(request) if request.path.startswith("/admin") else Nobody()  # type: ignore[assignment]
        except Unavailable:
            return _away()
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """A database or a context that does not answer is no mistake, on a page of the admin either."""
        return _away() if request.path.startswith("/admin") and isinstance(error, OUTAGES) else None

    def _staff(self, request: HttpRequest) -> Any:
        token = request.session.get(SESSION_TOKEN)
        if not token:
            return Nobody()
        try:
            return tokens.verify(token, kind=tokens.STAFF)
        except Unauthenticated:
            return self._renewed(request, token)

    def _renewed(self, request: HttpRequest, token: str) -> Any:
        """The signed cookie vouches for the old token; users says whether its owner still is staff."""
        try:
            user_id = tokens.owner_of_expired(token)
            request.session[SESSION_TOKEN] = users.renew_staff(user_id=user_id).token
        except (SignInFailed, Unauthenticated):
            request.session.flush()
            return Nobody()
        return tokens.verify(request.session[SESSION_TOKEN], kind=tokens.STAFF)


def _away() -> HttpResponse:
    return HttpResponse(AWAY, status=503, content_type="text/plain", headers=RETRY_AFTER)


def staff_in_templates(request: HttpRequest) -> dict[str, Any]:
    """What Django's auth context processor would give, for the admin's templates."""
    return {"user": request.user}
