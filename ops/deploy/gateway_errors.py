"""The errors that the gateway answers itself: problem details like those of the shop, which a storefront can read too."""

import msgspec

from shop import sizes
from shop.errors import DomainError, Invalid, NotFound, Unavailable
from shop.http.problems import MethodNotAllowed, Problem, RequestTimeout, TooLarge

# By the status of nginx. 494 stands for headers that are too large; the client receives 400.
ERRORS: dict[int, DomainError] = {
    400: Invalid(),
    404: NotFound(),
    405: MethodNotAllowed(method="$sent_method"),
    408: RequestTimeout(),
    413: TooLarge(),
    414: Invalid(),
    494: Invalid(),
    502: Unavailable(what="A part of the shop"),
    504: Unavailable(what="A part of the shop"),
}
SENT_STATUSES = {494: 400}
# An error page is a GET for nginx, whatever the client has sent.
MAPS = f"""\
map $request $sent_method {{ default ""; "~^(?<verb>[A-Z]+) " $verb; }}
map $http_x_request_id $known_request_id {{
    default $request_id;
    "~^[A-Za-z0-9._-]{{1,{sizes.REQUEST_ID_LENGTH}}}$" $http_x_request_id;
}}"""
# Any origin may read these errors: they tell nothing of the shop, and no origin can send a preflighted request without
# the permission of the shop.
LOCATION_TEMPLATE = """\
    error_page {status} /gateway-errors/{status};
    location = /gateway-errors/{status} {{
        internal;
        types {{ }}
        default_type application/problem+json;
        add_header X-Request-ID $known_request_id always;
        add_header Access-Control-Allow-Origin * always;
        add_header Access-Control-Expose-Headers "Retry-After, X-Request-ID" always;
{headers}        return {sent} '{body}';
    }}"""
RETRY_HEADER = "        add_header Retry-After 1 always;\n"


def render_errors() -> str:
    """Render an internal location for each error of nginx itself. An error of a context passes unchanged."""
    return "\n".join(
        LOCATION_TEMPLATE.format(
            status=status,
            sent=SENT_STATUSES.get(status, status),
            headers=RETRY_HEADER if isinstance(error, Unavailable) else "",
            body=_render_problem(error, SENT_STATUSES.get(status, status)),
        )
        for status, error in ERRORS.items()
    )


def _render_problem(error: DomainError, status: int) -> str:
    """Render the body of a problem. nginx replaces the variables in it."""
    problem = Problem(
        type=f"/api/docs/errors#{error.code}",  # relative, since nginx may not have read the host
        title=error.title,
        status=status,
        detail=str(error),
        code=error.code,
        facts=error.facts,
        request_id="$known_request_id",
    )
    return msgspec.json.encode(problem).decode().replace("'", "\\'")
