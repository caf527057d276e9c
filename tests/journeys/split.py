"""Five process trees, one for each context, each with its database of the test run.

There is no gateway: `RoutedShopper` sends each request to the context that serves the path.
"""

import os
import socket
import subprocess
import urllib.request
import uuid
from typing import IO, Any
from urllib.parse import urlsplit

from django.conf import settings
from django.urls import resolve

from tests.concurrency import eventually
from tests.context_map import list_callers_first
from tests.factories import create_sku
from tests.ports import reserve_port
from tests.process_trees import (
    START_TIMEOUT_SECONDS,
    STOP_TIMEOUT_SECONDS,
    kill_process_tree,
    select_secrets,
    start_process_tree,
)
from tests.shopper import Response, Shopper


class ContextProcess:
    """The process tree of one context: its public and its internal server."""

    def __init__(self, context: str) -> None:
        self.context, self.port, self.internal = context, reserve_port(), reserve_port()
        self.process: subprocess.Popen | None = None

    def start(self, environment: dict[str, str], output: IO | None = None) -> None:
        own = {
            "CONTEXTS": self.context, "PORT": str(self.port), "INTERNAL_PORT": str(self.internal), "WEB_HOST": "127.0.0.1",
            "WEB_WORKERS": "1", "ENGINE": "embedded",
        }  # fmt: skip
        self.process = start_process_tree(
            select_secrets(environment, self.context) | own, start_new_session=True, stdout=output, stderr=output
        )

    def await_ready(self) -> None:
        eventually(lambda: self._is_ready() or self.process.poll() is not None, timeout=START_TIMEOUT_SECONDS)
        assert self.process.poll() is None, f"{self.context}: it exited while it was starting"

    def _is_ready(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.internal), 1).close()
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ready", timeout=5) as response:
                return response.status == 200
        except OSError:
            return False

    def kill(self) -> None:
        """Kill all of its processes at once."""
        kill_process_tree(self.process)

    def close(self) -> None:
        """Kill what is still running."""
        if self.is_running():
            self.kill()

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(STOP_TIMEOUT_SECONDS)


class RoutedShopper(Shopper):
    """A customer whose requests go to the context that serves the path, as behind a gateway."""

    def __init__(self, shop: "SplitShop") -> None:
        super().__init__("")
        self.shop = shop

    def new_client(self) -> "RoutedShopper":
        return RoutedShopper(self.shop)

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Response:
        address = path if path.startswith("/") else f"/api/v1/{path}"
        self.site = self.shop.site(resolve(urlsplit(address).path).namespace)
        return super().send(method, path, body, **headers)


def await_closed_circuits(shopper: Shopper) -> None:
    """Wait until an order is confirmed at once, so that an earlier outage has no effect any more.

    Each process has circuit breakers of its own. One that opened during an outage closes with the next successful call of
    its process, and another process may have completed the orders of the outage.
    """
    eventually(lambda: shopper.order(create_sku(1), email=f"{uuid.uuid4().hex}@example.com").status == 201)


class SplitShop:
    """A shop of five process trees. Use it with `contextlib.closing`, so that they end whatever fails."""

    def __init__(self, output: IO | None = None, **environment: str) -> None:
        self.hosts = {context: ContextProcess(context) for context in settings.ALL_CONTEXTS}
        self.output = output
        self.environment = os.environ | environment | {
            f"{context.upper()}_URL": f"http://127.0.0.1:{host.internal}" for context, host in self.hosts.items()
        }  # fmt: skip

    def start(self, *contexts: str) -> None:
        """Start these contexts, or all of them. If one does not start, stop them all."""
        chosen = [self.hosts[context] for context in contexts or self.hosts]
        try:
            for host in chosen:
                host.start(self.environment, self.output)
            for host in chosen:
                host.await_ready()
        except BaseException:
            self.close()
            raise

    def site(self, context: str) -> str:
        """Return the public address of a context."""
        return f"http://127.0.0.1:{self.hosts[context].port}"

    def shopper(self) -> RoutedShopper:
        return RoutedShopper(self)

    def kill(self) -> None:
        """Kill all processes at once, as a power cut would."""
        for host in self.hosts.values():
            host.kill()

    def stop(self) -> int:
        """Stop them, callers before callees, and return the first exit status that is not 0."""
        callers_first = list_callers_first()
        running = [host for context in callers_first if (host := self.hosts[context]).is_running()]
        return next((status for status in [host.stop() for host in running] if status), 0)

    def close(self) -> None:
        """Kill what is still running."""
        for host in self.hosts.values():
            host.close()
