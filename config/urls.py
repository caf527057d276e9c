"""Every address of a process: the APIs of the contexts it hosts, the admin, and what operations look at.

The documentation is of the whole API: behind a gateway all of it is one site, whichever process answers.
"""

from collections.abc import Iterable
from importlib import import_module

from django.conf import settings
from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from config import health


def api(contexts: Iterable[str]) -> list:
    """The addresses of these contexts."""
    found = []
    for context in contexts:
        rest = import_module(f"contexts.{context}.rest")
        found.append(path("api/v1/", include((rest.urlpatterns, context))))
        found += getattr(rest, "site_urlpatterns", [])  # at a fixed place of the site, such as /.well-known/
    return found


urlpatterns = [
    path("", RedirectView.as_view(pattern_name="docs")),
    path("health", health.health),
    path("ready", health.ready),
    path("admin/", admin.site.urls),
    path("api/schema", SpectacularAPIView.as_view(urlconf=api(settings.ALL_CONTEXTS)), name="schema"),
    path("api/docs/", SpectacularSwaggerView.as_view(url_name="schema"), name="docs"),
    *api(settings.CONTEXTS),
]

handler400 = "shop.problems.bad_request"
handler403 = "shop.problems.forbidden"
handler404 = "shop.problems.not_found"
handler500 = "shop.problems.server_error"
