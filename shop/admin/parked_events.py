"""The page of the admin on which staff list, replay and discard the parked events of every hosted context."""

from collections.abc import Callable
from typing import Any, cast

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse

from shop.admin.inputs import find_refusals
from shop.db.database import hosted_contexts
from shop.http.rest import AnonymousCaller
from shop.http.tokens import Caller
from shop.messaging import parking

MAX_REASON_LENGTH = 300
MAX_SHOWN = 100  # of one context and table; `manage.py events parked` lists the others, too


def show_parked_events(site: AdminSite, request: HttpRequest) -> HttpResponse:
    """List the parked events of every context that the caller may see; replay or discard one on POST."""
    caller = cast(Caller | AnonymousCaller, request.user)
    if request.method == "POST":
        _replay_or_discard(request, caller)
        return redirect("admin:parked_events")
    seen = [context for context in hosted_contexts() if caller.has_perm(f"{context}.view")]
    shown = {
        **site.each_context(request),
        "title": "Parked events",
        **_list_oldest("parked", seen, parking.list_parked),
        **_list_oldest("deliveries", seen, parking.list_parked_deliveries),
        "max_shown": MAX_SHOWN,
    }
    return TemplateResponse(request, "shop/admin_parked.html", shown)


def _list_oldest(name: str, contexts: list[str], list_events: Callable[[str, int], list[Any]]) -> dict[str, object]:
    """Return the variables of one table: the oldest events of each context, and the contexts that have more of them."""
    found = {context: list_events(context, MAX_SHOWN + 1) for context in contexts}
    return {
        name: [(context, event) for context, events in found.items() for event in events[:MAX_SHOWN]],
        f"more_{name}": [context for context, events in found.items() if len(events) > MAX_SHOWN],
    }


def _replay_or_discard(request: HttpRequest, caller: Caller | AnonymousCaller) -> None:
    context, row, what = (request.POST.get(name, "") for name in ("context", "row", "what"))
    reason = request.POST.get("reason", "").strip()
    if refused := next(find_refusals(request.POST), None):
        messages.error(request, str(refused[1]))
        return
    try:
        parked = parking.parse_id(row)
    except ValueError:
        parked = None
    if context not in hosted_contexts() or not caller.has_perm(f"{context}.change") or parked is None:
        messages.error(request, "You have no permission to change this event.")
    elif what not in ("replay", "discard"):
        messages.error(request, "Choose whether to replay or to discard the event.")
    elif what == "discard" and not reason:
        messages.error(request, "Enter a reason to discard an event.")
    elif len(reason) > MAX_REASON_LENGTH:
        messages.error(request, f"Enter a reason of at most {MAX_REASON_LENGTH} characters.")
    else:
        actor = cast(Caller, caller).get_username()
        _change(request, context, parked, actor, reason if what == "discard" else "")


def _change(request: HttpRequest, context: str, parked: parking.ParkedId, actor: str, reason: str) -> None:
    """Discard an event for a reason, or replay it without one, and say whether it was still parked."""
    try:
        if reason:
            parking.discard_for_staff(context, parked, actor=actor, reason=reason)
        elif not parking.replay_for_staff(context, [parked], actor=actor):
            raise parking.NotParked
    except parking.NotParked:
        messages.error(request, "This event is no longer parked, or is too old to be replayed.")
    else:
        messages.success(request, "The event was discarded." if reason else "The event will be processed again.")
