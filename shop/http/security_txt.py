"""/.well-known/security.txt (RFC 9116): where to report a vulnerability."""

from datetime import timedelta

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from shop.clock import now
from shop.http.read_only import read_only
from shop.setting_types import build_origin

PATH = ".well-known/security.txt"
VALIDITY = timedelta(days=90)  # RFC 9116 recommends less than a year


@read_only
def show_security_txt(request: HttpRequest) -> HttpResponse:
    """Respond with the contacts of SECURITY_CONTACT, and until when they are valid."""
    expires_at = (now() + VALIDITY).replace(hour=0, minute=0, second=0, microsecond=0)
    lines = [
        *(f"Contact: {contact}" for contact in settings.SECURITY_CONTACT),
        f"Expires: {expires_at:%Y-%m-%dT%H:%M:%SZ}",
        "Preferred-Languages: en",
        f"Canonical: {build_origin(settings.SITE_URL)}/{PATH}",
    ]
    content = "".join(f"{line}\n" for line in lines)
    headers = {"Cache-Control": "public, max-age=3600"}
    return HttpResponse(content, content_type="text/plain; charset=utf-8", headers=headers)
