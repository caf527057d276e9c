"""Check that each error of the API is one that its operation declares, and so is in the OpenAPI document.

The clients of the tests call this for every response, so that whatever a test provokes is checked.
"""

import json

from django.http import HttpResponse
from django.urls import Resolver404, resolve

from shop.http.https import HttpsRequired
from shop.http.openapi_errors import group_by_status, list_access_errors
from shop.http.problems import InternalError, MethodNotAllowed

# What any operation may answer: a bug, a method that it does not have, a request that is no valid HTTP, and one over http.
ALWAYS_POSSIBLE = {InternalError.code, MethodNotAllowed.code, HttpsRequired.code, "shop.invalid"}


def find_undeclared(method: str, path: str, response: HttpResponse) -> str:
    """Return the code and the status of an error that its operation does not declare, or an empty text."""
    if response.headers.get("Content-Type") != "application/problem+json":
        return ""
    try:
        match = resolve(path)
    except Resolver404:
        return ""
    view = getattr(match.func, "view_class", None) or getattr(match.func, "cls", None)
    operation = getattr(view, method.lower(), None)
    if operation is None or not hasattr(operation, "errors") or not view.__module__.startswith("contexts."):
        return ""
    access = list_access_errors(may_sign_in=bool(view.authentication_classes), has_path_parameters=bool(match.kwargs))
    declared = group_by_status([*operation.errors, *access]).get(response.status_code, [])
    code = json.loads(response.content)["code"]
    return "" if code in ALWAYS_POSSIBLE | {cls.code for cls in declared} else f"{response.status_code} {code}"


def assert_declared(method: str, path: str, response: HttpResponse) -> None:
    """Assert that an error is declared with `endpoint(errors=…)`, or follows from what the operation reads."""
    undeclared = find_undeclared(method, path, response)
    assert not undeclared, f"{method} {path} answers {undeclared}, which it does not declare: see `endpoint(errors=…)`"
