"""A shop with servers of its own, one to leave and one to go to, that sells while a context of it moves."""

import itertools
import os
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

from django.conf import settings

from config.embedded import Server
from tests.config.trees import free_port, serve
from tests.shopper import Shopper
from tests.threads import eventually

PREFIX = "test_peel"


class MovingShop:
    """Its processes and servers; `manage` runs a command of it."""

    def __init__(self, folder: Path) -> None:
        self.old, self.new = (Server(folder / name, durable=False) for name in ("old", "new"))
        self.environment = os.environ | {
            "DATABASE_URL": "", "DATABASE_PREFIX": PREFIX, "ENGINE": "embedded", "TRANSPORT": "local", "WEB_WORKERS": "1",
            "WEB_HOST": "127.0.0.1", "WEB_THREADS": "4", "EMAIL_BACKEND": "django.core.mail.backends.dummy.EmailBackend",
        }  # fmt: skip
        self.processes: list[subprocess.Popen] = []

    def start(self) -> None:
        for server in (self.old, self.new):
            server.start()
        self.environment["DATABASE_URL"] = self.old.url
        for command in (["databases"], ["migrate", "-v0"], ["seed_catalogue"]):
            assert self.manage(*command).returncode == 0, command

    def to(self, database: str) -> str:
        """The address of a database on the new server."""
        return self.new.url.replace("/postgres?", f"/{database}?")

    def manage(self, *command: str, **environment: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "manage.py", *command], cwd=settings.BASE_DIR, env=self.environment | environment,
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    def peel(self, context: str, database: str, *options: str, **environment: str) -> subprocess.CompletedProcess:
        return self.manage("peel", context, "--to", self.to(database), *options, **environment)

    def serve(self, **environment: str) -> Shopper:
        """One more process tree. A customer of it, once it is ready."""
        port = free_port()
        self.processes.append(process := serve(self.environment | {"PORT": str(port)} | environment, start_new_session=True))
        customer = Shopper(f"http://127.0.0.1:{port}")
        eventually(lambda: process.poll() is not None or _ready(customer), patience=60)
        assert process.poll() is None, "it ended while it was starting"
        return customer

    def stop(self) -> list[int]:
        for process in self.processes:
            process.terminate()
        status = [process.wait(40) for process in self.processes]
        self.processes.clear()
        return status

    def end(self) -> None:
        self.stop()
        for server in (self.old, self.new):
            server.stop()


def _ready(customer: Shopper) -> bool:
    try:
        return customer.get("/ready").status == 200
    except OSError:
        return False


def _in_stock(customer: Shopper, at_least: int = 10) -> list[str]:
    """SKUs of which there is some, of the whole catalogue."""
    found, page = [], "products?in_stock=true"
    while page:
        answer = customer.get(page).body
        found += [v["sku"] for p in answer["results"] for v in p["variants"] if v["available"] >= at_least]
        page = answer["next"] and answer["next"].partition("/api/v1/")[2]
    return found


class Buyers:
    """They buy, one order after the other, each until it is confirmed, and note how long they waited."""

    def __init__(self, customer: Shopper, count: int = 3) -> None:
        self.customer = customer
        self.skus = itertools.cycle(_in_stock(customer))
        self.stopping = threading.Event()
        self.orders: dict[str, str] = {}  # by key: the id that was answered
        self.statuses: list[int] = []
        self.longest = 0.0
        self.broken: list[str] = []
        self.threads = [threading.Thread(target=self._buy) for _ in range(count)]

    def __enter__(self) -> "Buyers":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def _buy(self) -> None:
        try:
            self._buy_on()
        except Exception as error:  # the test looks at it
            self.broken.append(repr(error))

    def _buy_on(self) -> None:
        while not self.stopping.is_set():
            key, sku, began = uuid.uuid4().hex, next(self.skus), time.monotonic()
            while (answer := self.customer.order(sku, key=key)).status != 201:
                self.statuses.append(answer.status)
                is_on_its_way = answer.status in (202, 503) or answer.body["code"] == "shop.idempotency_key_in_flight"
                if not is_on_its_way or time.monotonic() - began > 30:
                    self.broken.append(f"{answer.status} {answer.body}")
                    return
                self.stopping.wait(0.05)
            self.orders[key] = answer.body["id"]
            self.longest = max(self.longest, time.monotonic() - began)
            self.stopping.wait(0.1)
