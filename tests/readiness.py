"""Ask a process of the test for its readiness as it is now: its checks are used again for a second, as in production."""

from typing import Any

from django.test import Client

from shop.db.postgres import disk_space
from shop.http import health


def forget_readiness() -> None:
    """Let the next request at /ready check everything."""
    health.readiness.forget()
    disk_space.forget_probes()


def read_readiness(path: str = "/ready") -> tuple[int, dict[str, Any]]:
    """Return the status and the body of /ready, with fresh checks."""
    forget_readiness()
    response = Client().get(path)
    return response.status_code, response.json()
