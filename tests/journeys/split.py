"""Five process trees, one for each context, each with one of the suite's databases; no gateway, but customers who know."""

import os
import signal
import socket
import subprocess
import urllib.request
from typing import IO, Any
from urllib.parse import urlsplit

from django.conf import settings
from django.urls import resolve

from tests.config.trees import children, free_port, serve
from tests.shopper import Answer, Shopper
from tests.threads import eventually


class Host:
    """One context's process tree: its public and its internal server."""

    def __init__(self, context: str) -> None:
        self.context, self.port, self.internal = context, free_port(), free_port()
        self.process: subprocess.Popen | None = None

    def start(self, environment: dict[str, str], output: IO | None = None) -> None:
        own = {
            "CONTEXTS": self.context, "PORT": str(self.port), "INTERNAL_PORT": str(self.internal), "WEB_HOST": "127.0.0.1",
            "WEB_WORKERS": "1", "ENGINE": "embedded",
        }  # fmt: skip
        self.process = serve(environment | own, start_new_session=True, stdout=output, stderr=output)

    def await_ready(self) -> None:
        eventually(lambda: self._is_ready() or self.process.poll() is not None, patience=60)
        assert self.process.poll() is None, f"{self.context}: it ended while it was starting"

    def _is_ready(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.internal), 1).close()
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ready", timeout=5) as response:
                return response.status == 200
        except OSError:
            return False

    def kill(self) -> None:
        """All of its processes, at once."""
        for group in (self.process.pid, *children(self.process.pid)):  # each server has one of its own
            os.killpg(group, signal.SIGKILL)
        self.process.wait()

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(40)


class Routed(Shopper):
    """A customer whose requests go to whoever hosts what they ask for."""

    def __init__(self, shop: "SplitShop") -> None:
        super().__init__("")
        self.shop = shop

    def another(self) -> "Routed":
        return Routed(self.shop)

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        address = path if path.startswith("/") else f"/api/v1/{path}"
        self.site = self.shop.site(resolve(urlsplit(address).path).namespace)
        return super().send(method, path, body, **headers)


class SplitShop:
    """The five of them; requests go to whoever hosts what they ask for."""

    def __init__(self, output: IO | None = None, **environment: str) -> None:
        self.hosts = {context: Host(context) for context in settings.ALL_CONTEXTS}
        self.output = output
        self.environment = os.environ | environment | {
            f"{context.upper()}_URL": f"http://127.0.0.1:{host.internal}" for context, host in self.hosts.items()
        }  # fmt: skip

    def start(self, *contexts: str) -> None:
        """Start these, or all of them; none of it is left if one does not start."""
        chosen = [self.hosts[context] for context in contexts or self.hosts]
        try:
            for host in chosen:
                host.start(self.environment, self.output)
            for host in chosen:
                host.await_ready()
        except BaseException:
            self.stop()
            raise

    def site(self, context: str) -> str:
        """One context's public address."""
        return f"http://127.0.0.1:{self.hosts[context].port}"

    def shopper(self) -> Routed:
        return Routed(self)

    def kill(self) -> None:
        """As a power cut would: all of them at once."""
        for host in self.hosts.values():
            host.kill()

    def stop(self) -> int:
        """Ask them to stop, callers before those whom they call; the first exit status that is not 0."""
        callers_first = sorted(self.hosts, key=("notifications", "orders", "inventory", "payments", "users").index)
        running = [host for context in callers_first if (host := self.hosts[context]).is_running()]
        return next((status for status in [host.stop() for host in running] if status), 0)
