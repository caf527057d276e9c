"""An HTTP client of a shop that keeps its connection open and retries a request when the shop asks for it."""

import http.client
import json
import time
import uuid
from typing import Any
from urllib.parse import SplitResult, urlsplit

MAX_ATTEMPTS = 5
TIMEOUT_SECONDS = 30.0  # for one response
MAX_RETRY_WAIT_SECONDS = 10.0  # a longer Retry-After is cut to this

MAX_RATE_LIMIT_WAIT_SECONDS = 60.0  # a 429 with a longer Retry-After is not repeated

# Decoded JSON of any endpoint: the demo reads it the way a customer's program does, without our types.
Json = Any


class ShopUnavailable(Exception):
    """No shop that takes orders runs at the address; the message explains why, and what to do."""


class UnexpectedResponse(Exception):
    """The shop gave a response that its API does not document for this request."""


class RateLimited(Exception):
    """The shop refused a request because of a rate limit, for longer than the demo waits."""


def parse_site_url(url: str) -> SplitResult:
    """Split the URL of a shop into its parts. Raises ShopUnavailable if it is not an http(s) URL."""
    try:
        parts = urlsplit(url)
        is_usable = bool(parts.scheme in ("http", "https") and parts.hostname and parts.port != 0)
    except ValueError:
        is_usable = False
    if "@" in url:
        raise ShopUnavailable(
            "The address of the shop contains a user name or password, which it does not need: leave it out."
        )
    if not is_usable:
        raise ShopUnavailable(f"{url} is not the address of a shop; an address looks like http://127.0.0.1:8000")
    return parts


class Client:
    """Send requests to a shop. Not thread-safe."""

    def __init__(self, url: str) -> None:
        parts = parse_site_url(url)
        connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self.connection = connect(parts.hostname or "", parts.port, timeout=TIMEOUT_SECONDS)
        self.token = ""

    def close(self) -> None:
        self.connection.close()

    def send(self, method: str, path: str, body: Json = None, **headers: str) -> tuple[int, Json]:
        """Send a request and return the status and the decoded JSON body (None without JSON).

        Header names are written with `_` for `-`. A request whose response is lost, or that gets 409, 429 or 503 with
        Retry-After, is sent again with the same Idempotency-Key, so that it takes effect once. Raises RateLimited, and
        OSError or http.client.HTTPException if there is no response.
        """
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        sent |= {"Content-Type": "application/json", "User-Agent": "satsuma-demo"}
        if method == "POST":
            sent.setdefault("Idempotency-Key", uuid.uuid4().hex)
        if self.token:
            sent["Authorization"] = f"Bearer {self.token}"
        content = None if body is None else json.dumps(body).encode()
        target = path if path.startswith("/") else f"/api/v1/{path}"
        return self._send_with_retries(method, target, content, sent)

    def _send_with_retries(
        self, method: str, target: str, content: bytes | None, headers: dict[str, str]
    ) -> tuple[int, Json]:
        for attempts_left in reversed(range(MAX_ATTEMPTS)):
            try:
                status, body, wait = self._send_once(method, target, content, headers)
            except (OSError, http.client.HTTPException) as error:
                self.connection.close()
                if not attempts_left or isinstance(error, ConnectionRefusedError | TimeoutError):
                    raise
                continue
            if status == 429 and (not attempts_left or wait is None or wait > MAX_RATE_LIMIT_WAIT_SECONDS):
                raise RateLimited(f"{method} {target}")
            if not attempts_left or wait is None or status not in (409, 429, 503):
                return status, body
            time.sleep(wait if status == 429 else min(wait, MAX_RETRY_WAIT_SECONDS))
        raise AssertionError("the last attempt returns or raises")

    def _send_once(
        self, method: str, target: str, content: bytes | None, headers: dict[str, str]
    ) -> tuple[int, Json, float | None]:
        self.connection.request(method, target, content, headers)
        response = self.connection.getresponse()
        data = response.read()
        retry_after = response.headers.get("Retry-After", "")
        wait = float(retry_after) if retry_after.isdecimal() else None
        return response.status, _decode(response.headers.get("Content-Type", ""), data), wait


def _decode(content_type: str, data: bytes) -> Json:
    try:
        return json.loads(data) if data and "json" in content_type else None
    except ValueError:
        return None
