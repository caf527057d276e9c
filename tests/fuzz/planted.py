"""A small API with one fault in each operation, for the checks to find. Its document is its own."""

from typing import Annotated

import msgspec
from django.http import HttpResponse
from django.urls import path
from drf_spectacular.views import SpectacularAPIView

from shop.rest import ANYONE, View, endpoint, respond


class Answer(msgspec.Struct):
    """A number."""

    number: int


class Wish(msgspec.Struct):
    """A small number."""

    number: Annotated[int, msgspec.Meta(ge=1, le=9)]


class Planted(View):
    context = "orders"


class Crash(Planted):
    @endpoint(who=ANYONE, answers={200: Answer})
    def get(self, request):
        """Crash."""
        raise RuntimeError("a bug")


class Teapot(Planted):
    @endpoint(who=ANYONE, answers={200: Answer})
    def get(self, request):
        """Answer a status that nobody declared."""
        problem = b'{"type":"x","title":"x","status":418,"detail":"x","code":"x","facts":{},"request_id":"x"}'
        return HttpResponse(problem, status=418, content_type="application/problem+json")


class OffSchema(Planted):
    @endpoint(who=ANYONE, answers={200: Answer})
    def get(self, request):
        """Answer words for a number."""
        return respond({"number": "two"})


class BareError(Planted):
    @endpoint(who=ANYONE, answers={200: Answer})
    def get(self, request):
        """Refuse without a problem document."""
        return HttpResponse(b"no", status=404, content_type="text/plain")


class Credulous(Planted):
    @endpoint(who=ANYONE, body=Wish, answers={200: Answer})
    def post(self, request, body):
        """Take any number, unread."""

    def dispatch(self, request):
        return respond({"number": 1}) if request.method == "POST" else super().dispatch(request)


class Picky(Planted):
    @endpoint(who=ANYONE, body=Wish, answers={200: Answer})
    def post(self, request, body):
        """Refuse what the document allows."""
        return HttpResponse(status=400, content_type="application/problem+json")


class Chatty(Planted):
    @endpoint(who=ANYONE, answers={200: Answer})
    def get(self, request):
        """Show an inside."""
        return respond({"number": 1, "debug": "SELECT secret FROM somewhere"})


class Sound(Planted):
    @endpoint(who=ANYONE, body=Wish, answers={200: Answer})
    def post(self, request, body):
        """Have no fault."""
        return Answer(body.number)


urlpatterns = [
    path("api/schema", SpectacularAPIView.as_view(urlconf="tests.fuzz.planted")),
    path("api/v1/crash", Crash.as_view()),
    path("api/v1/teapot", Teapot.as_view()),
    path("api/v1/off-schema", OffSchema.as_view()),
    path("api/v1/bare-error", BareError.as_view()),
    path("api/v1/credulous", Credulous.as_view()),
    path("api/v1/picky", Picky.as_view()),
    path("api/v1/chatty", Chatty.as_view()),
    path("api/v1/sound", Sound.as_view()),
]

handler404 = "shop.problems.not_found"
handler500 = "shop.problems.server_error"
