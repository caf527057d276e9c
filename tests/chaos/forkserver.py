"""A process that has loaded the shop, and forks: a killed worker then costs milliseconds, not a start of Django.

It holds no connection and no thread, so that a child is as a fresh process. One job is one line of JSON on its standard
input; the answer is one line on its standard output.
"""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from typing import Any

from tests.chaos.flows import Purchase, order

MAIN = "import django; django.setup(); from tests.chaos import worker; worker.serve()"


class ForkServer:
    """The side of the test."""

    def __init__(self, main: str = MAIN, *, ready: bool = True, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", main], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | {"DJANGO_SETTINGS_MODULE": "config.settings", "ALLOWED_HOSTS": "testserver"} | environment,
        )  # fmt: skip
        if ready:
            self.await_ready()

    def await_ready(self) -> None:
        assert self.ask() == "ready"

    def ask(self, **job: Any) -> Any:
        """The answer to a job; without one, the next line."""
        if job:
            self.process.stdin.write(json.dumps(job) + "\n")
            self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def run(self, purchase: Purchase, chaos: str = "", record: str = "") -> dict[str, Any]:
        """Let a child buy, and then be the engine. Says which `signal` ended it and when (`at`); where none did, its
        `answers`, whether all faults `struck`, and whether all came to `rest`."""
        return self.ask(do="buy", purchase=asdict(purchase), chaos=chaos, record=record)

    def order(self, purchase: Purchase) -> list[int]:
        """The answers to a customer whom nobody disturbs."""
        return order(purchase)

    def begin(self, purchase: Purchase, chaos: str, record: str) -> int:
        """The same without waiting for the child. Its id, to `end` with."""
        return self.ask(do="begin", purchase=asdict(purchase), chaos=chaos, record=record)

    def end(self, pid: int) -> dict[str, Any]:
        """What `run` says."""
        return self.ask(do="end", pid=pid)

    def survivor(self, without: str = "") -> int:
        """A process with a whole engine, but for one timer. Its id."""
        return self.ask(do="survive", without=without)

    def kill(self, pid: int) -> None:
        self.ask(do="kill", pid=pid)

    def stop(self) -> None:
        self.process.stdin.close()
        self.process.wait(10)
