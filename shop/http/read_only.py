"""Views outside of the API that only answer GET and HEAD."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponseBase
from django.views.decorators.csrf import csrf_exempt

from shop.http.problems import MethodNotAllowed, build_problem_response

METHODS = ("GET", "HEAD")
DjangoView = Callable[..., HttpResponseBase]


def read_only(view: DjangoView) -> DjangoView:
    """Refuse other methods with the problem `shop.method_not_allowed`, and without asking for a CSRF token."""

    @csrf_exempt
    @wraps(view)
    def run(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.method in METHODS:
            return view(request, *args, **kwargs)
        response = build_problem_response(MethodNotAllowed(method=request.method or ""))
        response.headers["Allow"] = ", ".join(METHODS)
        return response

    return run
