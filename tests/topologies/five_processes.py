"""Five processes, one for each context, each with its database of the test run. Their engines run only on command of a test.

The test process is the customer, the staff, the operator and the payment provider, and reads all databases.
"""

import http.client
import os
import pickle
import re
import secrets
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.test.signals import setting_changed

from config.settings import resolve_binding
from ops.deploy.gateway import DEFAULT_CONTEXT, build_routes
from ops.launch.process_tree import prepare_child_process
from ops.launch.serve import build_server_command
from shop.calls import services
from tests.concurrency import eventually
from tests.environment import FOLDER
from tests.ports import reserve_port
from tests.process_trees import START_TIMEOUT_SECONDS, STOP_TIMEOUT_SECONDS, select_secrets
from tests.topologies import recorded_calls
from tests.topologies.fakes_server import FakesServer

OWN_SETTINGS = {"CONTEXTS", "DATABASES", "ENGINE", "ROOT_URLCONF", "SERVICES"}  # different in each process
THREADS = 16  # of each process
CAPTURE_TIMER = "orders.capture_confirmed_orders"
MAX_ROUNDS = 1000  # of captures, deliveries and handlers

current: "FiveProcesses | None" = None  # if the suite runs in five processes


class CommandFailed(AssertionError):
    """A command of a test failed in one of the five processes."""


class FiveProcesses:
    """The five processes, and the commands and requests that the test process sends to them."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self.key = secrets.token_hex(16)
        self.ports = {context: reserve_port() for context in settings.ALL_CONTEXTS}
        self.processes: list[subprocess.Popen] = []
        self.fakes_server = FakesServer(self.key)
        self.routes = [(re.compile(one), context) for context, found in build_routes().items() for one in found]
        self.bindings = self.addresses = {context: self.url(context) for context in self.ports}
        self.bound: dict[str, str] = {}
        self.forwarding_lock = threading.Lock()
        self.requests = 0  # how many customers and staff have sent
        self.command_pool = _start_pool(len(self.ports))

    def url(self, context: str) -> str:
        return f"http://127.0.0.1:{self.ports[context]}"

    # --- Start and stop

    def start(self) -> None:
        """Start the processes, and let this process call every context at its address."""
        global current
        environment = os.environ | {f"{context.upper()}_URL": url for context, url in self.addresses.items()}
        environment |= {"TESTS_URL": self.fakes_server.url, "TESTS_KEY": self.key, "WEB_THREADS": str(THREADS)}
        with self.logs.open("w") as log:
            for context, port in self.ports.items():
                command = build_server_command(
                    host="127.0.0.1", port=port, workers=1, application="tests.topologies.application"
                )
                self.processes.append(subprocess.Popen(
                    command, env=select_secrets(environment, context) | {"CONTEXTS": context}, cwd=settings.BASE_DIR,
                    stdout=log, stderr=log, preexec_fn=prepare_child_process,
                ))  # fmt: skip
        for context in self.ports:
            eventually(lambda context=context: self._listens(context), timeout=START_TIMEOUT_SECONDS)
        recorded_calls.record_calls_to(self.addresses.values())
        settings.SERVICES = dict(self.addresses)
        services.configure(settings.SERVICES, settings.TRANSPORT)
        setting_changed.connect(self._forward_setting)
        current = self

    def _listens(self, context: str) -> bool:
        assert all(process.poll() is None for process in self.processes), self.logs.read_text()
        try:
            socket.create_connection(("127.0.0.1", self.ports[context]), 1).close()
        except OSError:
            return False
        return True

    def stop(self) -> list[int]:
        """Stop the processes and return their exit statuses. Processes that do not stop are killed."""
        global current
        current = None
        setting_changed.disconnect(self._forward_setting)
        for process in self.processes:
            process.terminate()
        self.command_pool.shutdown()
        try:
            return [process.wait(STOP_TIMEOUT_SECONDS) for process in self.processes]
        finally:
            for process in self.processes:
                process.kill()
                process.wait()
            self.fakes_server.close()

    def read_logs(self, since: int = 0) -> str:
        """Return what the processes have logged from this position on."""
        return self.logs.read_text()[since:]

    # --- Settings and fakes of the test process

    def _forward_setting(self, *, setting: str, value: Any, **_: Any) -> None:
        if setting not in OWN_SETTINGS:
            self.command_all("setting", setting, value)

    def forward_bindings(self) -> None:
        """Serve the contexts that the test has bound to classes of its own, and let the processes call them here."""
        with self.forwarding_lock:
            bound = {name: path for name, path in services._bindings.items() if "://" not in path}
            if bound != self.bound:
                for context in bound:
                    self.fakes_server.serve(context)
                self.command_all("bindings", self.addresses | dict.fromkeys(bound, self.fakes_server.url))
                self.bound = bound

    # --- Commands

    def run_until_idle(self) -> None:
        """Let the processes capture payments, and deliver and handle events, until nothing is due in any of them."""
        self.forward_bindings()
        for _ in range(MAX_ROUNDS):
            self.capture_payments()
            if not sum(self.command_all("work")):
                return
        raise CommandFailed(f"not idle after {MAX_ROUNDS} rounds: events cause further events without end")

    def capture_payments(self) -> None:
        """Let orders capture the payments of confirmed orders."""
        self.forward_bindings()
        self.command("orders", "timers", CAPTURE_TIMER)

    def run_timers(self, *contexts: str) -> None:
        self.forward_bindings()
        for context in contexts:
            self.command(context, "timers")

    def record_calls(self) -> None:
        """Let each process record its calls to the others from now on."""
        self.command_all("record")

    def repeat_calls(self) -> int:
        """Let each process repeat the calls that it has recorded, and return how many there were."""
        return sum(self.command_all("repeat"))

    def calls(self) -> dict[str, Counter[str]]:
        """Return the number of calls to other processes so far, by calling context and method."""
        return dict(zip(self.ports, map(Counter, self.command_all("calls")), strict=True))

    def command(self, context: str, name: str, *arguments: Any) -> Any:
        """Run a command in one process and return its result. CommandFailed with the traceback if it raises."""
        status, _, body = self.exchange(
            context, "POST", f"/tests/{name}", pickle.dumps(arguments), {"Tests-Key": self.key}
        )
        if status != 200:
            raise CommandFailed(f"{context} answered {status} to {name}:\n{body.decode(errors='replace')}")
        return pickle.loads(body)

    def command_all(self, name: str, *arguments: Any) -> list[Any]:
        return list(self.command_pool.map(lambda context: self.command(context, name, *arguments), self.ports))

    # --- Requests of customers and staff

    def request(
        self, method: str, path: str, target: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        """Send a request to the process that hosts the path: status, headers and body of the response."""
        self.forward_bindings()
        with self.forwarding_lock:
            self.requests += 1
        return self.exchange(self.host(path), method, target, body, headers | {"Tests-Key": self.key})

    def host(self, path: str) -> str:
        """Return the context that serves a path, by the routes of the gateway."""
        return next((context for route, context in self.routes if route.match(path)), DEFAULT_CONTEXT)

    def exchange(
        self, context: str, method: str, target: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        """Send a request on a new connection: status, headers and body of the response."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[context], timeout=60)
        try:
            connection.request(method, target, body or None, headers)
            response = connection.getresponse()
            return response.status, response.getheaders(), response.read()
        finally:
            connection.close()


def _start_pool(size: int) -> ThreadPoolExecutor:
    """Start a thread pool with all its threads, which would otherwise count as leaked by the test that needs them first."""
    pool, barrier = ThreadPoolExecutor(size), threading.Barrier(size)
    list(pool.map(lambda _: barrier.wait(), range(size)))
    return pool


@contextmanager
def running() -> Iterator[None]:
    """Run the five processes for the whole test run."""
    processes, status = FiveProcesses(FOLDER / "five.log"), []
    try:
        processes.start()
        yield
    finally:
        status = processes.stop()
    assert status == [0] * len(processes.ports)


@contextmanager
def single_process() -> Iterator[None]:
    """Serve all contexts in the test process, for tests of what happens inside of one, such as its database statements."""
    global current
    before, current = current, None
    services.configure({context: resolve_binding(context) for context in settings.ALL_CONTEXTS}, "local")
    try:
        yield
    finally:
        current = before
        services.configure(settings.SERVICES, settings.TRANSPORT)
