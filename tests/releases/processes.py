"""Processes of both releases, and a load balancer in front of those that host the same context."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from django.conf import settings

from ops.launch import serve
from tests.concurrency import eventually
from tests.ports import reserve_port
from tests.process_trees import START_TIMEOUT_SECONDS, STOP_TIMEOUT_SECONDS

UNUSED_URL = "http://127.0.0.1:9"  # of the contexts that inventory never calls; a process does not start without them


class Host:
    """The internal server of one release, which hosts inventory."""

    def __init__(self, tree: Path, engine: str) -> None:
        self.port = reserve_port()
        command = serve.build_server_command(host="127.0.0.1", port=self.port, workers=1, application="config.internal")
        others = {f"{context.upper()}_URL": UNUSED_URL for context in settings.ALL_CONTEXTS if context != "inventory"}
        own = others | {"CONTEXTS": "inventory", "ENGINE": engine, "PYTHONPATH": str(tree), "LOG_LEVEL": "CRITICAL"}
        self.process = subprocess.Popen(command, cwd=tree, env=os.environ | own, start_new_session=True)

    def stop(self) -> None:
        """Stop it with SIGTERM, and kill what does not stop."""
        self.process.terminate()
        try:
            self.process.wait(STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            raise

    def await_ready(self) -> None:
        eventually(self._listens, timeout=START_TIMEOUT_SECONDS)

    def _listens(self) -> bool:
        assert self.process.poll() is None, "it exited while it was starting"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class Balancer:
    """A load balancer that sends each connection to the next process."""

    def __init__(self, *hosts: Host) -> None:
        self.hosts, self.connections = list(hosts), count()
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listening.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listening.accept()
                host = self.hosts[next(self.connections) % len(self.hosts)]
                server = socket.create_connection(("127.0.0.1", host.port))
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=_forward, args=pair, daemon=True).start()

    def close(self) -> None:
        self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()


def _forward(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


SCRIPT_PRELUDE = """
import json, sys
import django
django.setup()
from datetime import timedelta
from uuid import UUID
from contexts.inventory.interface import Line, OutOfStock, inventory
from contexts.orders.events import OrderConfirmed
from shop.calls.remote import client
from shop.messaging import inbox, relay
from shop.db.database import execute, transaction
from shop.errors import Unavailable
from shop.money import Money
from shop.messaging.outbox import Revision, publish
given = json.loads(sys.argv[1])
def reserve(order, quantity=1, **more):
    for callee in client._callees.values():  # the next call opens a new connection
        callee.idle.clear()
    lines = (Line(sku=given["sku"], quantity=quantity),)
    return inventory.reserve(order_id=UUID(order), lines=lines, hold=timedelta(minutes=15), **more)
"""


def run_script(tree: Path, script: str, url: str, **given: Any) -> Any:
    """Run a script in a process of a release that hosts orders, with inventory at `url`. Return the JSON that it prints."""
    own = {"DJANGO_SETTINGS_MODULE": "config.settings", "PYTHONPATH": str(tree), "LOG_LEVEL": "CRITICAL"}
    hosting = {"CONTEXTS": "orders", "INVENTORY_URL": url, "ENGINE": "none"}
    command = [sys.executable, "-c", SCRIPT_PRELUDE + script, json.dumps(given)]
    done = subprocess.run(
        command, cwd=tree, env=os.environ | own | hosting, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
