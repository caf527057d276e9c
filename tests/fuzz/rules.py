"""What every answer of this API keeps to, beyond what the generic checks look at."""

import schemathesis

from shop.errors import DomainError
from shop.problems import InternalError

INSIDES = (b"Traceback", b"psycopg", b"SELECT ", b'File "/', b"site-packages")


def statuses(base: type[DomainError] = DomainError) -> set[int]:
    """The statuses that the domain's errors are answered with; a bug on our side is not one of them."""
    found = {base.status} if base is not InternalError else set()
    return found.union(*map(statuses, base.__subclasses__()))


@schemathesis.check
def declared_status(ctx, response, case) -> None:
    """A status is listed for the operation, or it is a domain error's. `default` in the document covers no other."""
    listed = {int(status) for status in case.operation.definition.raw["responses"] if status.isdecimal()}
    assert response.status_code in listed | statuses(), f"{response.status_code} is answered but not declared"


@schemathesis.check
def problem_headers(ctx, response, case) -> None:
    """An error is a problem document that says what helps: where to sign in, how long to wait, what is possible."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    assert "x-request-id" in headers, "the answer has no X-Request-ID"
    if response.status_code < 400:
        return
    assert headers["content-type"] == ["application/problem+json"], f"an error as {headers['content-type']}"
    needed = {401: "www-authenticate", 405: "allow", 429: "retry-after", 503: "retry-after"}.get(response.status_code)
    assert needed is None or needed in headers, f"{response.status_code} without {needed}"


@schemathesis.check
def no_insides(ctx, response, case) -> None:
    """No answer shows a stack, a statement or a path of ours."""
    shown = [inside for inside in INSIDES if inside in response.content]
    assert not shown, f"the answer shows {shown}"


OWN = (declared_status, problem_headers, no_insides)
