"""Checks of every response of this API, in addition to the generic ones of schemathesis."""

import schemathesis

from shop.errors import DomainError
from shop.http.problems import InternalError

INTERNAL_MARKERS = (b"Traceback", b"psycopg", b"SELECT ", b'File "/', b"site-packages")


def statuses(base: type[DomainError] = DomainError) -> set[int]:
    """Return the statuses of all domain errors, except that of an internal error."""
    found = {base.status} if base is not InternalError else set()
    return found.union(*map(statuses, base.__subclasses__()))


@schemathesis.check
def declared_status(ctx, response, case) -> None:
    """Check that the status is listed for the operation or is that of a domain error. `default` covers no other."""
    listed = {int(status) for status in case.operation.definition.raw["responses"] if status.isdecimal()}
    assert response.status_code in listed | statuses(), f"{response.status_code} is not declared"


@schemathesis.check
def problem_headers(ctx, response, case) -> None:
    """Check that an error is a problem document, with WWW-Authenticate, Allow or Retry-After where it is due."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    assert "x-request-id" in headers, "the response has no X-Request-ID"
    if response.status_code < 400:
        return
    assert headers["content-type"] == ["application/problem+json"], (
        f"the content type of an error is {headers['content-type']}"
    )
    needed = {401: "www-authenticate", 405: "allow", 429: "retry-after", 503: "retry-after"}.get(response.status_code)
    assert needed is None or needed in headers, f"{response.status_code} without {needed}"


@schemathesis.check
def no_internal_details(ctx, response, case) -> None:
    """Check that a response contains no stack trace, no SQL and no path of the server."""
    found = [marker for marker in INTERNAL_MARKERS if marker in response.content]
    assert not found, f"the response contains {found}"


OWN_CHECKS = (declared_status, problem_headers, no_internal_details)
