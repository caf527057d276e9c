"""Processes of one release or the other, and one address for those that host the same context."""

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

from config import serve
from tests.config.trees import free_port
from tests.threads import eventually


class Host:
    """The internal server of a release that hosts inventory."""

    def __init__(self, tree: Path, engine: str) -> None:
        self.port = free_port()
        command = serve.server(host="127.0.0.1", port=self.port, workers=1, threads=4, application="config.internal")
        own = {"CONTEXTS": "inventory", "ENGINE": engine, "PYTHONPATH": str(tree), "LOG_LEVEL": "CRITICAL"}
        self.process = subprocess.Popen(command, cwd=tree, env=os.environ | own, start_new_session=True)

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def await_ready(self) -> None:
        eventually(self._listens, patience=60)

    def _listens(self) -> bool:
        assert self.process.poll() is None, "it ended while it was starting"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class Balancer:
    """An address behind which one connection goes to this process, and the next one to another."""

    def __init__(self, *hosts: Host) -> None:
        self.hosts, self.turn = list(hosts), count()
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listening.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                one, _ = self.listening.accept()
                host = self.hosts[next(self.turn) % len(self.hosts)]
                other = socket.create_connection(("127.0.0.1", host.port))
                for pair in ((one, other), (other, one)):
                    threading.Thread(target=_carry, args=pair, daemon=True).start()

    def close(self) -> None:
        self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()


def _carry(source: socket.socket, to: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            to.sendall(data)
        to.shutdown(socket.SHUT_WR)


BEGIN = """
import json, sys
import django
django.setup()
from datetime import timedelta
from uuid import UUID
from contexts.inventory.interface import Line, OutOfStock, inventory
from contexts.orders.events import OrderConfirmed
from shop import inbox, relay, remote
from shop.database import changed, transaction
from shop.errors import Unavailable
from shop.money import Money
from shop.outbox import publish
given = json.loads(sys.argv[1])
def reserve(order, quantity=1, **more):
    for callee in remote._callees.values():  # the next call goes over a connection of its own
        callee.idle.clear()
    lines = (Line(sku=given["sku"], quantity=quantity),)
    return inventory.reserve(order_id=UUID(order), lines=lines, hold=timedelta(minutes=15), **more)
"""


def say(tree: Path, script: str, url: str, **given: Any) -> Any:
    """What a script prints as JSON, in a process of this release that hosts orders, while inventory is at this address."""
    own = {"DJANGO_SETTINGS_MODULE": "config.settings", "PYTHONPATH": str(tree), "LOG_LEVEL": "CRITICAL"}
    hosting = {"CONTEXTS": "orders", "INVENTORY_URL": url, "ENGINE": "none"}
    command = [sys.executable, "-c", BEGIN + script, json.dumps(given)]
    done = subprocess.run(command, cwd=tree, env=os.environ | own | hosting, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
