"""A process that has loaded the shop and forks a child for each purchase, so that a kill costs milliseconds.

Starting Django for each kill would take seconds. The process has no database connection and no second thread, so that a
child is like a new process. One job is one line of JSON on its standard input, its result is one line on its standard output.
"""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from typing import Any

from tests.chaos.flows import Purchase, send_requests

EXIT_TIMEOUT_SECONDS = 30.0
MAIN = "import django; django.setup(); from tests.chaos import worker; worker.serve()"


class ForkServer:
    """The client side of the fork server, in the test process."""

    def __init__(self, main: str = MAIN, *, ready: bool = True, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", main], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | {"DJANGO_SETTINGS_MODULE": "config.settings", "ALLOWED_HOSTS": "testserver"} | environment,
        )  # fmt: skip
        if ready:
            try:
                self.await_ready()
            except BaseException:
                self.stop()
                raise

    def await_ready(self) -> None:
        assert self.ask() == "ready"

    def ask(self, **job: Any) -> Any:
        """Send a job and return its result; without a job, return the next line."""
        if job:
            self.process.stdin.write(json.dumps(job) + "\n")
            self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def run(self, purchase: Purchase, chaos: str = "", record: str = "") -> dict[str, Any]:
        """Let a child send the requests of a purchase and then run the engine.

        The result contains which `signal` ended the child, and when (`at`). Without a signal it also has the statuses of the
        responses (`answers`), whether all faults happened (`is_hit`), and whether no work is left (`is_finished`).
        """
        return self.ask(do="buy", purchase=asdict(purchase), chaos=chaos, record=record)

    def order(self, purchase: Purchase) -> list[int]:
        """Send the requests of a purchase without a fault, and return the statuses of the responses."""
        return send_requests(purchase)

    def begin(self, purchase: Purchase, chaos: str, record: str) -> int:
        """Start what `run` does without waiting for it. Return the process id of the child, for `end`."""
        return self.ask(do="begin", purchase=asdict(purchase), chaos=chaos, record=record)

    def end(self, pid: int) -> dict[str, Any]:
        """Wait for the child, and return what `run` returns."""
        return self.ask(do="end", pid=pid)

    def run_engine_process(self, without: str = "") -> int:
        """Fork a process with an engine, without one of its timers, and return its process id."""
        return self.ask(do="run_engine", without=without)

    def kill(self, pid: int) -> None:
        self.ask(do="kill", pid=pid)

    def stop(self) -> None:
        """End the process: it exits at the end of its input, or is killed."""
        self.process.stdin.close()
        try:
            self.process.wait(EXIT_TIMEOUT_SECONDS)
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
