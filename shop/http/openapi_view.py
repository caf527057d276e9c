"""Serve the OpenAPI document, which a process generates once, at the first request for it."""

import hashlib
import json
from functools import lru_cache
from typing import NamedTuple

from django.conf import settings
from django.http import HttpResponse, HttpResponseBase
from django.urls import URLPattern, URLResolver
from django.utils.cache import get_conditional_response
from drf_spectacular.generators import SchemaGenerator
from rest_framework.request import Request

from shop.http.rest import View

CONTENT_TYPE = "application/vnd.oai.openapi+json"
Patterns = tuple[URLPattern | URLResolver, ...]


class Rendered(NamedTuple):
    """The document as it is sent, and the ETag of its content."""

    content: bytes
    etag: str


@lru_cache(maxsize=2)
def _render(patterns: Patterns, site_url: str) -> Rendered:
    """Generate the document of these routes. `site_url` is the server in it, SITE_URL."""
    document = SchemaGenerator(patterns=patterns).get_schema(request=None, public=True)
    content = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    return Rendered(content, f'"{hashlib.sha256(content).hexdigest()[:32]}"')


class ApiDocument(View):
    """The OpenAPI document of `patterns`, for everyone. A client that has it already gets 304 (RFC 9110, 13.1.2)."""

    authentication_classes = []
    schema = None  # it is not an operation of the API
    patterns: Patterns = ()

    def get(self, request: Request) -> HttpResponseBase:
        """Answer the document, or 304 to a client that has it."""
        content, etag = _render(self.patterns, settings.SITE_URL)
        headers = {"ETag": etag, "Cache-Control": "no-cache", "Content-Disposition": 'inline; filename="openapi.json"'}
        response = HttpResponse(content, content_type=CONTENT_TYPE, headers=headers)
        return get_conditional_response(request._request, etag=etag, response=response) or response
