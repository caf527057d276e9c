"""A small API with a document of its own and one fault in each operation, which the checks have to find."""

from typing import Annotated

import msgspec
from django.http import HttpResponse
from django.urls import path
from drf_spectacular.views import SpectacularAPIView

from shop.http.reading import RequestBody
from shop.http.rest import ANYONE, View, endpoint, respond


class Answer(msgspec.Struct):
    """A number."""

    number: int


class NumberRequest(RequestBody):
    """A small number."""

    number: Annotated[int, msgspec.Meta(ge=1, le=9)]


class Planted(View):
    context = "orders"


class Crash(Planted):
    @endpoint(access=ANYONE, responses={200: Answer})
    def get(self, request):
        """Crash."""
        raise RuntimeError("a bug")


class Teapot(Planted):
    @endpoint(access=ANYONE, responses={200: Answer})
    def get(self, request):
        """Respond with an undeclared status."""
        problem = b'{"type":"x","title":"x","status":418,"detail":"x","code":"x","facts":{},"request_id":"x"}'
        return HttpResponse(problem, status=418, content_type="application/problem+json")


class OffSchema(Planted):
    @endpoint(access=ANYONE, responses={200: Answer})
    def get(self, request):
        """Respond with a text instead of a number."""
        return respond({"number": "two"})


class BareError(Planted):
    @endpoint(access=ANYONE, responses={200: Answer})
    def get(self, request):
        """Respond with an error that is no problem document."""
        return HttpResponse(b"no", status=404, content_type="text/plain")


class UncheckedInput(Planted):
    @endpoint(access=ANYONE, body=NumberRequest, responses={200: Answer})
    def post(self, request, body):
        """Accept any number."""

    def dispatch(self, request):
        return respond({"number": 1}) if request.method == "POST" else super().dispatch(request)


class OverlyStrict(Planted):
    @endpoint(access=ANYONE, body=NumberRequest, responses={200: Answer})
    def post(self, request, body):
        """Refuse a request that the document allows."""
        return HttpResponse(status=400, content_type="application/problem+json")


class LeakyResponse(Planted):
    @endpoint(access=ANYONE, responses={200: Answer})
    def get(self, request):
        """Respond with internal details."""
        return respond({"number": 1, "debug": "SELECT secret FROM somewhere"})


class Sound(Planted):
    @endpoint(access=ANYONE, body=NumberRequest, responses={200: Answer})
    def post(self, request, body):
        """Have no fault."""
        return Answer(body.number)


urlpatterns = [
    path("api/schema", SpectacularAPIView.as_view(urlconf="tests.fuzz.planted")),
    path("api/v1/crash", Crash.as_view()),
    path("api/v1/teapot", Teapot.as_view()),
    path("api/v1/off-schema", OffSchema.as_view()),
    path("api/v1/bare-error", BareError.as_view()),
    path("api/v1/credulous", UncheckedInput.as_view()),
    path("api/v1/picky", OverlyStrict.as_view()),
    path("api/v1/chatty", LeakyResponse.as_view()),
    path("api/v1/sound", Sound.as_view()),
]

handler404 = "shop.http.problems.not_found"
handler500 = "shop.http.problems.server_error"
