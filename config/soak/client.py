"""A good client: it notes all that it sends and hears, and repeats what was not answered, with the same key."""

import http.client
import json
import time
from dataclasses import dataclass
from random import Random
from typing import Any
from urllib.parse import urlsplit

from config.soak.history import History
from config.soak.topology import Sites

TIMEOUT = 8.0  # seconds that one try may take
PATIENCE = 180.0  # seconds until a request is given up, which no shop may make anybody do
LONGEST_PAUSE = 1.0
TRY_AGAIN = ("shop.idempotency_key_in_flight", "orders.cart_changed", "payments.another_refund_runs")
KEPT_HEADERS = ("Retry-After", "Content-Type", "X-Request-ID")


class GivenUp(Exception):
    """A request was not answered, however often it was sent."""


@dataclass(frozen=True)
class Answer:
    """What came back for good."""

    status: int
    content: str

    @property
    def body(self) -> Any:
        return json.loads(self.content) if self.content else None


class Client:
    """One buyer's browser."""

    def __init__(self, history: History, sites: Sites, chance: Random, journey: int, token: str = "") -> None:
        self.history, self.sites, self.chance, self.journey, self.token = history, sites, chance, journey, token

    def send(self, purpose: str, method: str, path: str, body: Any = None, key: str = "", **headers: str) -> Answer:
        """Send a request until it is answered for good: an outage, or a request that still runs, is asked again."""
        request = {"purpose": purpose, "method": method, "path": path, "key": key, "body": body}
        deadline = time.monotonic() + PATIENCE
        tries = 0
        while time.monotonic() < deadline:
            answer = self._try(request, headers)
            if answer and not _is_passing(answer):
                return answer
            tries += 1
            time.sleep(min(LONGEST_PAUSE, 0.05 * 2**tries) * self.chance.uniform(0.5, 1))
        self.history.note("given_up", journey=self.journey, purpose=purpose, key=key, path=path)
        raise GivenUp(f"{method} {path}")

    def _try(self, request: dict[str, Any], headers: dict[str, str]) -> Answer | None:
        """One try, at any of the shop's addresses; None where nothing came back."""
        number, site = self.history.request(), self.chance.choice(self.sites.of(request["path"]))
        facts = {"request": number, "journey": self.journey, "purpose": request["purpose"], "key": request["key"]}
        self.history.note("sent", **facts, site=site, **{name: request[name] for name in ("method", "path", "body")})
        try:
            status, told, content = self._exchange(site, request, headers)
        except (OSError, http.client.HTTPException) as error:
            self.history.note("lost", **facts, why=f"{type(error).__name__}: {error}")
            return None
        shown = "" if request["purpose"] == "browse" and status < 500 else content
        self.history.note("answered", **facts, status=status, headers=told, answer=shown)
        return Answer(status, content)

    def _exchange(self, site: str, request: dict[str, Any], headers: dict[str, str]) -> tuple[int, dict[str, str], str]:
        sent = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
        if request["key"]:
            sent["Idempotency-Key"] = request["key"]
        if self.token:
            sent["Authorization"] = f"Bearer {self.token}"
        content = None if request["body"] is None else json.dumps(request["body"])
        parts = urlsplit(site)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT)
        try:
            connection.request(request["method"], request["path"], content, sent)
            response = connection.getresponse()
            data = response.read().decode()
            return response.status, {n: response.headers[n] for n in KEPT_HEADERS if n in response.headers}, data
        finally:
            connection.close()


def _is_passing(answer: Answer) -> bool:
    """Whether the same request may well be answered otherwise in a moment."""
    return answer.status >= 500 or (answer.status == 409 and answer.body.get("code") in TRY_AGAIN)
