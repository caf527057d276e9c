"""A shop with an old and a new PostgreSQL server, which takes orders while one of its contexts moves."""

import itertools
import os
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

from django.conf import settings

from ops.launch.postgres import PostgresServer
from tests.concurrency import eventually
from tests.ports import reserve_port
from tests.process_trees import start_process_tree
from tests.shopper import Shopper

PREFIX = "test_peel"


class MovingShop:
    """The servers and processes of the shop."""

    def __init__(self, folder: Path) -> None:
        self.old, self.new = (PostgresServer(folder / name, durable=False) for name in ("old", "new"))
        self.environment = os.environ | {
            "DATABASE_URL": "", "DATABASE_PREFIX": PREFIX, "ENGINE": "embedded", "TRANSPORT": "local", "WEB_WORKERS": "1",
            "WEB_HOST": "127.0.0.1", "WEB_THREADS": "4", "EMAIL_BACKEND": "django.core.mail.backends.dummy.EmailBackend",
        }  # fmt: skip
        self.processes: list[subprocess.Popen] = []

    def start(self) -> None:
        for server in (self.old, self.new):
            server.start()
        self.environment["DATABASE_URL"] = self.old.url
        for command in (["databases"], ["migrate", "-v0"], ["databases"], ["seed_catalogue"]):
            assert self.manage(*command).returncode == 0, command

    def new_database_url(self, database: str) -> str:
        """Return the URL of a database on the new server."""
        return self.new.url.replace("/postgres?", f"/{database}?")

    def manage(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a management command of the shop."""
        return subprocess.run(
            [sys.executable, "manage.py", *command], cwd=settings.BASE_DIR, env=self.environment | environment,
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    def peel(self, context: str, database: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.manage("peel", context, "--to", self.new_database_url(database), *options, **environment)

    def start_to_peel(self, context: str, database: str) -> "subprocess.Popen[str]":
        """Start to move a context, and do not wait."""
        return subprocess.Popen(
            [sys.executable, "manage.py", "peel", context, "--to", self.new_database_url(database)],
            cwd=settings.BASE_DIR, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def serve(self, **environment: str) -> Shopper:
        """Start another process tree, wait until it is ready, and return a customer of it."""
        port = reserve_port()
        self.processes.append(
            process := start_process_tree(self.environment | {"PORT": str(port)} | environment, start_new_session=True)
        )
        customer = Shopper(f"http://127.0.0.1:{port}")
        eventually(lambda: process.poll() is not None or _ready(customer))
        assert process.poll() is None, "it exited while it was starting"
        return customer

    def stop(self) -> list[int]:
        for process in self.processes:
            process.terminate()
        status = [process.wait(40) for process in self.processes]
        self.processes.clear()
        return status

    def stop_all(self) -> None:
        """Stop processes and servers."""
        self.stop()
        for server in (self.old, self.new):
            server.stop()


def _ready(customer: Shopper) -> bool:
    try:
        return customer.get("/ready").status == 200
    except OSError:
        return False


def _find_available_skus(customer: Shopper, minimum: int = 10) -> list[str]:
    """Find the SKUs of the whole catalogue that have some units available."""
    found, page = [], "products?in_stock=true"
    while page:
        body = customer.get(page).body
        found += [v["sku"] for p in body["results"] for v in p["variants"] if v["available"] >= minimum]
        page = body["next"] and body["next"].partition("/api/v1/")[2]
    return found


class Buyers:
    """Place order after order in threads, each repeated until it is confirmed."""

    def __init__(self, customer: Shopper, count: int = 3) -> None:
        self.customer = customer
        self.skus = itertools.cycle(_find_available_skus(customer))
        self.stopping = threading.Event()
        self.orders: dict[str, str] = {}  # ids of confirmed orders by idempotency key
        self.errors: list[str] = []
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
            self._buy_repeatedly()
        except Exception as error:  # assert_nothing_lost checks it
            self.errors.append(repr(error))

    def _buy_repeatedly(self) -> None:
        while not self.stopping.is_set():
            key, sku, deadline = uuid.uuid4().hex, next(self.skus), time.monotonic() + 30
            while (response := self.customer.order(sku, key=key)).status != 201:
                is_pending = response.status in (202, 503) or response.body["code"] == "shop.idempotency_key_in_flight"
                if not is_pending or time.monotonic() > deadline:
                    self.errors.append(f"{response.status} {response.body}")
                    return
                self.stopping.wait(0.05)
            self.orders[key] = response.body["id"]
            self.stopping.wait(0.1)
