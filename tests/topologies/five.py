"""Five processes, one for each context, each with one of the suite's databases; their engines run when a test says so.

The test process is everybody else: customer, staff, operator, payment provider, and it looks into all the databases.
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

from config.gateway import FRONT, routes
from config.serve import in_a_group_of_its_own, server
from config.settings import binding
from shop import services
from tests.config.trees import free_port
from tests.environment import FOLDER
from tests.threads import eventually
from tests.topologies import calls
from tests.topologies.outside import Outside

OWN_SETTINGS = {"CONTEXTS", "DATABASES", "ENGINE", "ROOT_URLCONF", "SERVICES"}  # each process has its own
THREADS = 16  # of each process

current: "Five | None" = None  # where the suite runs in five processes


class Failed(AssertionError):
    """One of the five could not do what a test asked it for."""


class Five:
    """The five of them."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self.key = secrets.token_hex(16)
        self.ports = {context: free_port() for context in settings.ALL_CONTEXTS}
        self.processes: list[subprocess.Popen] = []
        self.outside = Outside(self.key)
        self.routes = [(re.compile(one), context) for context, found in routes().items() for one in found]
        self.bindings = self.own = {context: self.url(context) for context in self.ports}
        self.bound: dict[str, str] = {}
        self.telling = threading.Lock()
        self.requests = 0  # of customers and staff
        self.posts = ThreadPoolExecutor(len(self.ports))

    def url(self, context: str) -> str:
        return f"http://127.0.0.1:{self.ports[context]}"

    # --- Life

    def start(self) -> None:
        """Start them, and have this process reach every context by its address."""
        global current
        everybody = os.environ | {f"{context.upper()}_URL": url for context, url in self.own.items()}
        everybody |= {"TESTS_URL": self.outside.url, "TESTS_KEY": self.key}
        with self.logs.open("w") as log:
            for context, port in self.ports.items():
                command = server(
                    host="127.0.0.1", port=port, workers=1, threads=THREADS, application="tests.topologies.application"
                )
                self.processes.append(subprocess.Popen(
                    command, env=everybody | {"CONTEXTS": context}, cwd=settings.BASE_DIR,
                    stdout=log, stderr=log, preexec_fn=in_a_group_of_its_own,
                ))  # fmt: skip
        for context in self.ports:
            eventually(lambda context=context: self._listens(context), patience=60)
        calls.noting(self.own.values())
        settings.SERVICES = dict(self.own)
        services.configure(settings.SERVICES, settings.TRANSPORT)
        setting_changed.connect(self._tell_setting)
        current = self

    def _listens(self, context: str) -> bool:
        assert all(process.poll() is None for process in self.processes), self.logs.read_text()
        try:
            socket.create_connection(("127.0.0.1", self.ports[context]), 1).close()
        except OSError:
            return False
        return True

    def stop(self) -> list[int]:
        """Ask them to stop; their exit statuses."""
        global current
        current = None
        setting_changed.disconnect(self._tell_setting)
        for process in self.processes:
            process.terminate()
        self.posts.shutdown()
        status = [process.wait(30) for process in self.processes]
        self.outside.close()
        return status

    def said(self, since: int = 0) -> str:
        """What they have logged from this position on."""
        return self.logs.read_text()[since:]

    # --- What a test sets up in its own process

    def _tell_setting(self, *, setting: str, value: Any, **_: Any) -> None:
        if setting not in OWN_SETTINGS:
            self.ask_all("setting", setting, value)

    def tell_bindings(self) -> None:
        """A class that the test has put behind a name answers here, and whoever calls that name calls here."""
        with self.telling:
            bound = {name: path for name, path in services._bindings.items() if "://" not in path}
            if bound != self.bound:
                for context in bound:
                    self.outside.serve(context)
                self.ask_all("bindings", self.own | dict.fromkeys(bound, self.outside.url))
                self.bound = bound

    # --- What the test has them do

    def run_until_idle(self, rounds: int = 1000) -> None:
        """Let each deliver and handle, again and again, until nothing is due in any of them."""
        self.tell_bindings()
        for _ in range(rounds):
            if not sum(self.ask_all("work")):
                return
        raise Failed(f"still busy after {rounds} rounds: events chase each other")

    def run_timers(self, *contexts: str) -> None:
        self.tell_bindings()
        for context in contexts:
            self.ask(context, "timers")

    def note(self) -> None:
        """Have each note from now on what it asks of the others."""
        self.ask_all("note")

    def repeat(self) -> int:
        """Have each make once more what it has noted; how many calls that were."""
        return sum(self.ask_all("repeat"))

    def calls(self) -> dict[str, Counter[str]]:
        """How often each has called the others until now, by the method's name."""
        return dict(zip(self.ports, map(Counter, self.ask_all("calls")), strict=True))

    def ask(self, context: str, what: str, *arguments: Any) -> Any:
        """Something that only a test asks for. Failed with the reason if it cannot be done."""
        status, _, body = self.exchange(
            context, "POST", f"/tests/{what}", pickle.dumps(arguments), {"Tests-Key": self.key}
        )
        if status != 200:
            raise Failed(f"{context} answered {status} to {what}:\n{body.decode(errors='replace')}")
        return pickle.loads(body)

    def ask_all(self, what: str, *arguments: Any) -> list[Any]:
        return list(self.posts.map(lambda context: self.ask(context, what, *arguments), self.ports))

    # --- Requests of customers and staff

    def request(
        self, method: str, path: str, target: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        """Have the process that hosts the path answer."""
        self.tell_bindings()
        with self.telling:
            self.requests += 1
        return self.exchange(self.host(path), method, target, body, headers | {"Tests-Key": self.key})

    def host(self, path: str) -> str:
        """Whose a path is, by the gateway's routes."""
        return next((context for route, context in self.routes if route.match(path)), FRONT)

    def exchange(
        self, context: str, method: str, target: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        """One request on a connection of its own: status, headers and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[context], timeout=60)
        try:
            connection.request(method, target, body or None, headers)
            response = connection.getresponse()
            return response.status, response.getheaders(), response.read()
        finally:
            connection.close()


@contextmanager
def running() -> Iterator[None]:
    """The five, for as long as the suite runs."""
    five, status = Five(FOLDER / "five.log"), []
    try:
        five.start()
        yield
    finally:
        status = five.stop()
    assert status == [0] * len(five.ports)


@contextmanager
def one_process() -> Iterator[None]:
    """For what is about the inside of one process, such as the statements on its connections: all is local, and here."""
    global current
    before, current = current, None
    services.configure({context: binding(context) for context in settings.ALL_CONTEXTS}, "local")
    try:
        yield
    finally:
        current = before
        services.configure(settings.SERVICES, settings.TRANSPORT)
