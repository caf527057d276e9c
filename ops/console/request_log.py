"""Log every request of the buyers of a soak test and every response to it, one JSON line each, in order of time.

Only the buyers write it, so it has the responses as clients received them. Injected faults are logged too, to explain them.
"""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict


class Entry(TypedDict, total=False):
    """One line. `event` is sent, answered, lost, given_up, fault or mail; `at` is in seconds since 1970."""

    at: float
    event: str
    request: int  # number that a request and its outcome share
    journey: int
    purpose: str  # order, cancel, refund, approve, repeat, …
    method: str
    path: str
    site: str
    key: str
    body: object
    status: int
    headers: dict[str, str]
    answer: str
    why: str
    kind: str
    target: str
    seconds: float


class RequestLog:
    """An append-only log file. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = path.open("a", encoding="utf-8")
        self.lock = threading.Lock()
        self.requests = 0

    def request(self) -> int:
        """Return the number of the next request."""
        with self.lock:
            self.requests += 1
            return self.requests

    def note(self, event: str, **fields: object) -> None:
        """Write one line."""
        line = json.dumps({"at": round(time.time(), 4), "event": event} | fields, separators=(",", ":"))
        with self.lock:
            self.file.write(line + "\n")
            self.file.flush()

    def close(self) -> None:
        self.file.close()


def read_request_log(path: Path) -> Iterator[Entry]:
    """Read the lines of a log, the oldest first."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)
