"""Share the outcome of a costly check among all who ask: it runs once at a time, and not more often than it may."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class SharedOutcome(Generic[T]):
    """The outcome of `check`, which is used for `max_age_seconds`. Thread-safe.

    A caller that arrives while the check runs waits for it, and gets its outcome. A check that raises an error has
    none.
    """

    def __init__(self, check: Callable[[], T], max_age_seconds: float) -> None:
        self._check, self._max_age_seconds = check, max_age_seconds
        self._lock = threading.Lock()
        self._latest: tuple[float, T] | None = None  # when the check ended, and its outcome

    def get(self) -> T:
        """Return the latest outcome, or run the check if that is too old."""
        with self._lock:
            if self._latest is None or time.monotonic() - self._latest[0] >= self._max_age_seconds:
                outcome = self._check()
                self._latest = time.monotonic(), outcome
            return self._latest[1]

    def forget(self) -> None:
        """Let the next call run the check."""
        with self._lock:
            self._latest = None
