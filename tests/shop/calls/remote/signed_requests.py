"""Requests to a server of the remote transport that bypass its client."""

import http.client
from urllib.parse import urlsplit

from shop.calls.remote import signature
from tests.shop.calls.servers import CountingServer

PATH = "/library/books"
BODY = b'{"isbns": ["1"]}'


def sign_request(body: bytes = BODY, seconds: float = 2.0, **changed_fields: str) -> dict[str, str]:
    """Return the headers of a signed request; `changed_fields` replace fields of the signed line afterwards."""
    headers = signature.build_headers(PATH, body, seconds)
    names = ("scheme", "caller", "at", "nonce", "milliseconds", "signature")
    fields = dict(zip(names, headers["Authorization"].split(" "), strict=True)) | changed_fields
    return headers | {"Authorization": " ".join(fields.values())}


def post(
    server: CountingServer,
    path: str = PATH,
    body: bytes = BODY,
    headers: dict[str, str] | None = None,
    method: str = "POST",
    **changed_headers: str,
) -> int:
    """Send one request, signed unless `headers` are given, and return the status of the response."""
    sent = (headers or sign_request()) | {name.replace("_", "-"): value for name, value in changed_headers.items()}
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=5)
    connection.request(method, path, body, sent)
    with connection.getresponse() as response:
        return response.status
