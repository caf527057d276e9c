"""Route the URLs of a process: the APIs of the contexts that it hosts, the admin, health checks and documentation.

The documentation covers the whole API: behind a gateway it is one site, no matter which process answers.
"""

from collections.abc import Iterable

from django.conf import settings
from django.contrib import admin
from django.urls import URLPattern, URLResolver, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularSwaggerView

from shop.contexts import get_context_config
from shop.http import error_page, health, security_txt
from shop.http.openapi_view import ApiDocument
from shop.http.read_only import read_only


def build_api_urlpatterns(contexts: Iterable[str]) -> list[URLPattern | URLResolver]:
    """Return the URLs of these contexts."""
    return [pattern for context in contexts for pattern in get_context_config(context).build_urlpatterns()]


show_api_document = ApiDocument.as_view(patterns=tuple(build_api_urlpatterns(settings.ALL_CONTEXTS)))

urlpatterns = [
    path("", read_only(RedirectView.as_view(pattern_name="docs"))),
    path("health", health.health),
    path("ready", health.ready),
    path("admin/", admin.site.urls),
    path("api/openapi.json", show_api_document, name="schema"),
    path("api/schema", show_api_document),  # the former address
    path("api/docs/errors", error_page.show_errors, name="errors"),
    path(
        "api/docs/", SpectacularSwaggerView.as_view(url_name="schema", template_name="shop/api_docs.html"), name="docs"
    ),
    path(security_txt.PATH, security_txt.show_security_txt),
    *build_api_urlpatterns(settings.CONTEXTS),
]

handler400 = "shop.http.problems.bad_request"
handler403 = "shop.http.problems.forbidden"
handler404 = "shop.http.problems.not_found"
handler500 = "shop.http.problems.server_error"
