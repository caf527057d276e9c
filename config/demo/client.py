"""A customer's HTTP client: one connection that is kept, and the same request again where the shop asks for that."""

import http.client
import json
import time
import uuid
from typing import Any
from urllib.parse import SplitResult, urlsplit

TRIES = 5
TIMEOUT = 30.0  # seconds for one answer


class NoShop(Exception):
    """What is there is no shop that one could buy in; the text says why, and what to do."""


class WrongAnswer(Exception):
    """The shop answered what it must not."""


def parse(url: str) -> SplitResult:
    """The parts of a site's address. Raises NoShop."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise NoShop(f"{url} is not the address of a shop; it looks like http://127.0.0.1:8000")
    return parts


class Client:
    """Not for two threads at once."""

    def __init__(self, url: str) -> None:
        parts = parse(url)
        connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self.connection = connect(parts.hostname or "", parts.port, timeout=TIMEOUT)
        self.token = ""

    def close(self) -> None:
        self.connection.close()

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Status and decoded JSON, None where there is none. Names of headers with `_` for `-`.

        A lost answer, 409 with Retry-After and 503 are asked for again, with the same Idempotency-Key, so that the
        request happens once. Raises OSError or http.client.HTTPException if there is no answer.
        """
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        sent |= {"Content-Type": "application/json", "User-Agent": "satsuma-demo"}
        if method == "POST":
            sent.setdefault("Idempotency-Key", uuid.uuid4().hex)
        if self.token:
            sent["Authorization"] = f"Bearer {self.token}"
        content = None if body is None else json.dumps(body).encode()
        address = path if path.startswith("/") else f"/api/v1/{path}"
        return self._persist(method, address, content, sent)

    def _persist(self, method: str, address: str, content: bytes | None, headers: dict[str, str]) -> tuple[int, Any]:
        for left in reversed(range(TRIES)):
            try:
                status, said, wait = self._once(method, address, content, headers)
            except (OSError, http.client.HTTPException) as error:
                self.connection.close()
                if not left or isinstance(error, ConnectionRefusedError | TimeoutError):
                    raise
                continue
            if not left or wait is None or status not in (409, 429, 503):
                return status, said
            time.sleep(wait)
        raise AssertionError("the last try returns or raises")

    def _once(self, method: str, address: str, content: bytes | None, headers: dict[str, str]) -> tuple[int, Any, float | None]:
        self.connection.request(method, address, content, headers)
        response = self.connection.getresponse()
        data = response.read()
        wait = response.headers.get("Retry-After", "")
        seconds = min(float(wait), 10.0) if wait.isdecimal() else None
        return response.status, _decoded(response.headers.get("Content-Type", ""), data), seconds


def _decoded(kind: str, data: bytes) -> Any:
    try:
        return json.loads(data) if data and "json" in kind else None
    except ValueError:
        return None
