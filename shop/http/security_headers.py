"""Security headers of every response: what it may load, and whether it is stored.

- Content-Security-Policy: a page may load what this site serves, and run inline scripts and styles only if they have the nonce
  of the request, `{{ request.csp_nonce }}`. Any other response may load nothing.
- Cache-Control: a response is stored nowhere unless its view allows it.
- Permissions-Policy: no response uses the sensors, devices or payment functions of a browser.
"""

import secrets
from collections.abc import Callable
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from shop.setting_types import build_origin

DENY_ALL = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
UNUSED_FEATURES = (
    "accelerometer", "autoplay", "browsing-topics", "camera", "display-capture",
    "encrypted-media", "fullscreen", "gamepad", "geolocation", "gyroscope", "hid", "idle-detection", "magnetometer",
    "microphone", "midi", "payment", "picture-in-picture", "publickey-credentials-get", "screen-wake-lock", "serial", "usb",
    "xr-spatial-tracking",
)  # fmt: skip
HEADERS = {
    "Cache-Control": "no-store",
    "Permissions-Policy": ", ".join(f"{feature}=()" for feature in UNUSED_FEATURES),
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
_FORM_TARGETS = "csp_form_targets"


class SecurityHeadersMiddleware:
    """Add the headers to every response that does not have them."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.csp_nonce = secrets.token_urlsafe(16)  # type: ignore[attr-defined]  # for templates
        response = self.get_response(request)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        policy = _build_page_policy(get_nonce(request), response) if _is_page(response) else DENY_ALL
        response.headers.setdefault("Content-Security-Policy", policy)
        response.headers["Cross-Origin-Opener-Policy"] = "same-origin"  # a page of a library asks for less
        return response


def get_nonce(request: HttpRequest) -> str:
    """Return the nonce that inline scripts and styles of the response need."""
    nonce: str = request.csp_nonce  # type: ignore[attr-defined]  # set by the middleware
    return nonce


def allow_form_redirect(response: HttpResponse, url: str) -> None:
    """Allow the forms of a page to be redirected to an absolute URL, which the caller has to have checked."""
    target = urlsplit(url)
    port = f":{target.port}" if target.port else ""
    # A policy cannot name an IPv6 address.
    allowed = f"{target.scheme}:" if ":" in (target.hostname or "") else f"{target.scheme}://{target.hostname}{port}"
    setattr(response, _FORM_TARGETS, allowed)


def _is_page(response: HttpResponse) -> bool:
    """Return whether a response has HTML; the type of one without content is a default."""
    is_html = response.headers.get("Content-Type", "").startswith("text/html")
    return is_html and (response.streaming or bool(response.content))


def _build_page_policy(nonce: str, response: HttpResponse) -> str:
    return "; ".join((
        "default-src 'none'",
        f"script-src 'self' 'nonce-{nonce}'",
        f"style-src 'self' 'nonce-{nonce}'",
        "img-src 'self' data:",
        "font-src 'self'",
        f"connect-src 'self' {build_origin(settings.SITE_URL)}",  # the API documentation sends requests there
        "base-uri 'none'",
        f"form-action 'self' {getattr(response, _FORM_TARGETS, '')}".rstrip(),
        "frame-ancestors 'none'",
    ))  # fmt: skip
