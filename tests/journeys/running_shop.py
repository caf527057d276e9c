"""A shop in a process of its own: server and embedded engine, on the databases of the test run."""

import os
import signal
import subprocess
import urllib.request
from typing import IO

from ops.launch import serve
from tests.concurrency import eventually
from tests.environment import TOPOLOGY
from tests.journeys.split import SplitShop
from tests.ports import reserve_port
from tests.process_trees import START_TIMEOUT_SECONDS, STOP_TIMEOUT_SECONDS
from tests.shopper import Shopper


class RunningShop:
    """The web server on a port of its own, without its process tree.

    Use it with `contextlib.closing`, so that it ends even if the test fails.

    output: the file for its log. environment: what differs from the environment of the test run.
    """

    def __init__(self, output: IO | None = None, **environment: str) -> None:
        self.port = reserve_port()
        self.site = f"http://127.0.0.1:{self.port}"
        self.environment = os.environ | {"ENGINE": "embedded", "SITE_URL": self.site} | environment
        self.output = output
        self.start()

    def start(self) -> None:
        """Start the shop and wait until it is ready."""
        self.process = self._launch()
        try:
            eventually(lambda: self.is_ready() or self.process.poll() is not None, timeout=START_TIMEOUT_SECONDS)
            assert self.process.poll() is None, "the shop exited while it was starting"
        except BaseException:
            self.close()
            raise

    def _launch(self) -> subprocess.Popen:
        command = serve.build_server_command(host="127.0.0.1", port=self.port, workers=1)
        environment = {"WEB_THREADS": "8", **self.environment}
        return subprocess.Popen(
            command, env=environment, start_new_session=True, stdout=self.output, stderr=self.output
        )

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.site}/ready", timeout=5) as response:
                return response.status == 200
        except OSError:  # refused, reset, no response in time, or a response of a shop that is not ready
            return False

    def shopper(self) -> Shopper:
        return Shopper(self.site)

    def kill(self) -> None:
        """Kill the server and its workers at once, as a power cut would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """Stop it with SIGTERM and return its exit status."""
        self.process.terminate()
        return self.process.wait(STOP_TIMEOUT_SECONDS)

    def close(self) -> None:
        """Kill what is still running. After the process was reaped, its id may belong to another one."""
        if self.process.returncode is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def start_shop(output: IO | None = None, **environment: str) -> RunningShop | SplitShop:
    """Start a shop in one process, or in five where the test run has five."""
    if TOPOLOGY != "remote":
        return RunningShop(output, **environment)
    shop = SplitShop(output, **environment)
    shop.start()
    return shop
