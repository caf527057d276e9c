"""REST API of $context."""

from typing import Annotated, cast
from uuid import UUID

import msgspec
from django.urls import path
from rest_framework.request import Request

from contexts.$context.interface import $Noun
from contexts.$context.service import $context
from shop.http.pagination import Page, PageQuery, paginate
from shop.http.reading import RequestBody
from shop.http.rest import CUSTOMER, Text, View, endpoint
from shop.http.tokens import Caller


class ${Noun}Request(RequestBody):
    """$A_noun to create."""

    reference: Text
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=10_000)]


def _get_user_id(request: Request) -> UUID:
    """Return the id of the caller. CUSTOMER has checked that there is one."""
    return cast(Caller, request.user).id


class ${Context}View(View):
    context = "$context"


class ${Noun}List(${Context}View):
    @endpoint(access=CUSTOMER, query=PageQuery, responses={200: Page[$Noun]})
    def get(self, request: Request, query: PageQuery) -> Page[$Noun]:
        """List your $context, the newest first."""
        rows = $context.list_$context(_get_user_id(request))
        return paginate(request, query, rows, ordering=("-id",), to_view=$context.to_dtos)

    @endpoint(access=CUSTOMER, body=${Noun}Request, responses={201: $Noun})
    def post(self, request: Request, body: ${Noun}Request) -> $Noun:
        """Create $a_noun.

        If you have one with the same reference, it is returned unchanged.
        """
        return $context.create_$noun(user_id=_get_user_id(request), reference=body.reference, text=body.text)


class ${Noun}Item(${Context}View):
    @endpoint(access=CUSTOMER, responses={200: $Noun}, errors=($context.${Noun}NotFound,))
    def get(self, request: Request, ${noun}_id: UUID) -> $Noun:
        """Return one of your $context."""
        return $context.get_$noun(${noun}_id, user_id=_get_user_id(request))


urlpatterns = [
    path("$context", ${Noun}List.as_view(), name="$context"),
    path("$context/<uuid:${noun}_id>", ${Noun}Item.as_view(), name="$noun"),
]
