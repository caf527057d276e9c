"""Read the query parameters of a request."""

from django.http import QueryDict
from rest_framework.request import Request

IGNORED_PARAMETERS = {"gclid", "fbclid", "_"}  # of advertisements and caches, besides utm_*


def read_parameters(request: Request) -> QueryDict:
    """Return the query parameters of a request, without those that every operation ignores.

    If its cursor is a URL, the parameters of that URL apply too. A parameter of the request overrides the one of the URL,
    of which nothing but the query string is used.
    """
    given = request.query_params
    cursor = given.get("cursor", "")
    if "?" not in cursor and not any(map(_is_ignored, given)):
        return given
    parameters = QueryDict(cursor.partition("?")[2].partition("#")[0], mutable=True)
    for name, values in given.lists():
        if name != "cursor" or "?" not in cursor:
            parameters.setlist(name, values)
    if cursor:
        parameters.setdefault("cursor", cursor)  # a URL without a cursor, which is then refused
    for name in list(filter(_is_ignored, parameters)):
        del parameters[name]
    return parameters


def _is_ignored(name: str) -> bool:
    return name in IGNORED_PARAMETERS or name.startswith("utm_")
