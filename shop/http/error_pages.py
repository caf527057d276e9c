"""Error pages of the admin: what is wrong, and the request id that identifies the error in the log."""

from django.http import HttpResponse
from django.template.loader import render_to_string

from shop.calls import tracing
from shop.errors import DomainError

ADMIN_PATH = "/admin"


def is_admin_path(path: str) -> bool:
    """Return whether a path belongs to the admin, whose errors are pages and not problem details."""
    return path == ADMIN_PATH or path.startswith(f"{ADMIN_PATH}/")


def render_error_page(error: DomainError) -> HttpResponse:
    """Render the page of a domain error. It needs neither a database nor a session, so that it is shown in any state."""
    request_id = tracing.get_current_trace().causation_id
    content = render_to_string("shop/admin_error.html", {"error": error, "request_id": request_id})
    headers = {"Retry-After": str(error.facts["retry_after"])} if "retry_after" in error.facts else None
    response = HttpResponse(content, status=error.status, headers=headers)
    response.refusal = error  # type: ignore[attr-defined]  # for the security log
    return response
