"""The history: every request that a buyer sent and every answer that one received, one JSON line each, as it happened.

It is written by the buyers alone, so it knows nothing of the shop but what the shop has told. Faults stand in it too,
in their place, for whoever reads it.
"""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypedDict


class Entry(TypedDict, total=False):
    """One line. `event` is sent, answered, lost, given_up, fault or mail; times are seconds since 1970."""

    at: float
    event: str
    request: int  # the same for one sent line and what came of it
    journey: int
    purpose: str  # what the request is for: order, cancel, refund, approve, repeat, …
    method: str
    path: str
    site: str
    key: str
    body: Any
    status: int
    headers: dict[str, str]
    answer: str
    why: str
    kind: str
    target: str
    seconds: float


class History:
    """A file that only grows. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = path.open("a", encoding="utf-8")
        self.lock = threading.Lock()
        self.requests = 0

    def request(self) -> int:
        """A number for the next request."""
        with self.lock:
            self.requests += 1
            return self.requests

    def note(self, event: str, **facts: Any) -> None:
        """Write one line."""
        line = json.dumps({"at": round(time.time(), 4), "event": event} | facts, separators=(",", ":"))
        with self.lock:
            self.file.write(line + "\n")
            self.file.flush()

    def close(self) -> None:
        self.file.close()


def read(path: Path) -> Iterator[Entry]:
    """The lines of a history, the oldest first."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)
