"""A client that records its requests and responses, and retries with the same idempotency key."""

import http.client
import json
import time
from dataclasses import dataclass
from random import Random
from typing import Any
from urllib.parse import urlsplit

from ops.console.request_log import RequestLog
from tests.soak.topology import Sites

ATTEMPT_TIMEOUT_SECONDS = 8.0
REQUEST_TIMEOUT_SECONDS = 180.0  # for all attempts of a request; the audit reports a request that exceeds it
MAX_RETRY_PAUSE_SECONDS = 1.0
RETRYABLE_CODES = ("shop.idempotency_key_in_flight", "orders.cart_changed", "payments.another_refund_runs")
RECORDED_HEADERS = ("Retry-After", "Content-Type", "X-Request-ID")


class RetriesExhausted(Exception):
    """A request got no final response in time."""


@dataclass(frozen=True)
class Response:
    """A final response."""

    status: int
    content: str

    @property
    def body(self) -> Any:
        return json.loads(self.content) if self.content else None


class Client:
    """The client of one journey."""

    def __init__(self, history: RequestLog, sites: Sites, rng: Random, journey: int, token: str = "") -> None:
        self.history, self.sites, self.rng, self.journey, self.token = history, sites, rng, journey, token

    def send(self, purpose: str, method: str, path: str, body: Any = None, key: str = "", **headers: str) -> Response:
        """Send a request until the response is final: retry after an outage, or while the first attempt still runs."""
        request = {"purpose": purpose, "method": method, "path": path, "key": key, "body": body}
        deadline = time.monotonic() + REQUEST_TIMEOUT_SECONDS
        attempts = 0
        while time.monotonic() < deadline:
            answer = self._attempt(request, headers)
            if answer and not _is_transient(answer):
                return answer
            attempts += 1
            time.sleep(min(MAX_RETRY_PAUSE_SECONDS, 0.05 * 2**attempts) * self.rng.uniform(0.5, 1))
        self.history.note("given_up", journey=self.journey, purpose=purpose, key=key, path=path)
        raise RetriesExhausted(f"{method} {path}")

    def _attempt(self, request: dict[str, Any], headers: dict[str, str]) -> Response | None:
        """Make one attempt at any address that serves the path. Returns None if there is no response."""
        number, site = self.history.request(), self.rng.choice(self.sites.of(request["path"]))
        facts = {"request": number, "journey": self.journey, "purpose": request["purpose"], "key": request["key"]}
        self.history.note("sent", **facts, site=site, **{name: request[name] for name in ("method", "path", "body")})
        try:
            status, response_headers, content = self._exchange(site, request, headers)
        except (OSError, http.client.HTTPException) as error:
            self.history.note("lost", **facts, why=f"{type(error).__name__}: {error}")
            return None
        shown = "" if request["purpose"] == "browse" and status < 500 else content
        self.history.note("answered", **facts, status=status, headers=response_headers, answer=shown)
        return Response(status, content)

    def _exchange(self, site: str, request: dict[str, Any], headers: dict[str, str]) -> tuple[int, dict[str, str], str]:
        sent = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
        if request["key"]:
            sent["Idempotency-Key"] = request["key"]
        if self.token:
            sent["Authorization"] = f"Bearer {self.token}"
        content = None if request["body"] is None else json.dumps(request["body"])
        parts = urlsplit(site)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=ATTEMPT_TIMEOUT_SECONDS)
        try:
            connection.request(request["method"], request["path"], content, sent)
            response = connection.getresponse()
            data = response.read().decode()
            return response.status, {n: response.headers[n] for n in RECORDED_HEADERS if n in response.headers}, data
        finally:
            connection.close()


def _is_transient(answer: Response) -> bool:
    """Return whether a retry may get another response."""
    return answer.status >= 500 or (answer.status == 409 and answer.body.get("code") in RETRYABLE_CODES)
