"""A shop in a process of its own: server and embedded engine, on the suite's databases."""

import os
import signal
import subprocess
import sys
import urllib.request
from typing import IO

import pytest

from tests.config.trees import free_port
from tests.environment import TOPOLOGY
from tests.journeys.split import SplitShop
from tests.shopper import Shopper
from tests.threads import eventually


class RunningShop:
    """`granian config.wsgi` on a free port, and the environment that it started with."""

    def __init__(self, output: IO | None = None, **environment: str) -> None:
        self.port = free_port()
        self.site = f"http://127.0.0.1:{self.port}"
        self.environment = os.environ | {"ENGINE": "embedded", "SITE_URL": self.site} | environment
        self.output = output
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "granian", "--interface", "wsgi", "--port", str(self.port), "--no-ws",
             "--blocking-threads", "8", "--log-level", "error", "config.wsgi:application"],
            env=self.environment, start_new_session=True, stdout=self.output, stderr=self.output,
        )  # fmt: skip
        eventually(lambda: self.is_ready() or self.process.poll() is not None, patience=30)
        assert self.process.poll() is None, "it ended while it was starting"

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.site}/ready", timeout=5) as response:
                return response.status == 200
        except OSError:  # refused, reset, no answer in time, or an answer that it is not
            return False

    def shopper(self) -> Shopper:
        return Shopper(self.site)

    def kill(self) -> None:
        """As a power cut would: the server and its workers, at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """Ask it to stop; its exit status."""
        self.process.terminate()
        return self.process.wait(30)


def opened(output: IO | None = None, **environment: str) -> RunningShop | SplitShop:
    """A shop in one process or, where the suite runs so, in five."""
    if TOPOLOGY != "remote":
        return RunningShop(output, **environment)
    shop = SplitShop(output, **environment)
    shop.start()
    return shop


@pytest.fixture(scope="package")
def running_shop():
    """One process, in every topology."""
    shop = RunningShop()
    yield shop
    if shop.process.poll() is None:
        shop.stop()


@pytest.fixture(scope="module")
def shop():
    shop = opened()
    yield shop
    assert shop.stop() == 0


@pytest.fixture
def shopper(shop):
    return shop.shopper()
