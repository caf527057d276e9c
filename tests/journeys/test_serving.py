"""The process tree of a container: it serves, survives its workers, and stops without failing anybody."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from django.conf import settings

from shop.database import rows
from tests.config.trees import children, serve
from tests.inventory.stock import stocked
from tests.journeys.conftest import RunningShop
from tests.shop.server import superuser
from tests.shopper import Shopper
from tests.threads import eventually

LOOK = 0.5  # seconds between two looks of a gateway at /ready
SELDOM = 3600.0
LISTEN = "0A"  # TCP_LISTEN, as /proc/net/tcp has it


class ServedShop(RunningShop):
    """`python -m config.serve`, as the image runs it."""

    def start(self) -> None:
        environment = self.environment | {"PORT": str(self.port), "WEB_HOST": "127.0.0.1"}
        self.process = serve(environment, stdout=self.output, stderr=self.output)
        eventually(lambda: self.is_ready() or self.process.poll() is not None, patience=60)
        assert self.process.poll() is None, "it ended while it was starting"

    def server(self) -> int:
        [pid] = children(self.process.pid)
        return pid

    def workers(self) -> list[int]:
        return children(self.server())

    def listening(self) -> int:
        """How many workers take connections: each has a socket of its own for the port."""
        sockets = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
        return sum(fields[1].endswith(f":{self.port:04X}") and fields[3] == LISTEN for fields in sockets)


@contextmanager
def served(output: IO | None = None, **environment: str) -> Iterator[ServedShop]:
    shop = ServedShop(output, **environment)
    try:
        yield shop
    finally:
        if shop.process.poll() is None:
            shop.stop()


class Gateway:
    """Buyers who are sent to whichever shop says that it is ready, and never try twice."""

    def __init__(self, *shops: RunningShop, look: float) -> None:
        self.shops = shops
        self.look = look
        self.ready = list(shops)
        self.sku = stocked(5_000)
        self.answers: list[int] = []
        self.failures: list[str] = []
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=work) for work in (self._look, self._buy, self._buy, self._buy)]

    def _look(self) -> None:
        while not self.stopping.wait(self.look):
            self.ready = [shop for shop in self.shops if shop.is_ready()] or self.ready

    def _buy(self) -> None:
        while not self.stopping.is_set():
            email = f"{uuid.uuid4().hex}@example.com"
            try:
                self.answers.append(Shopper(random.choice(self.ready).site).order(self.sku, email=email).status)
            except OSError:
                self.failures.append(email)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def has_sold(self, more: int) -> None:
        enough = len(self.answers) + more
        eventually(lambda: len(self.answers) >= enough, patience=30)


def begun(log: Path) -> int:
    """How many workers have loaded."""
    return log.read_text().count('"engine_started"')


@contextmanager
def under_load(running_shop, log: Path, look: float, **environment: str) -> Iterator[tuple[ServedShop, Gateway]]:
    with log.open("w") as output, served(output, WEB_WORKERS="2", LOG_LEVEL="INFO", **environment) as shop:
        eventually(lambda: begun(log) == 2, patience=30)
        with Gateway(running_shop, shop, look=look) as gateway:
            gateway.has_sold(10)
            shop.process.terminate()
            yield shop, gateway
            gateway.has_sold(10)


def test_a_stop_under_load_fails_no_request(running_shop, tmp_path):
    with under_load(running_shop, tmp_path / "log", LOOK, DRAIN_SECONDS="6") as (shop, gateway):
        eventually(lambda: not shop.is_ready())
        assert Shopper(shop.site).get("categories").status == 200, "it goes on serving"
        assert shop.process.wait(40) == 0
    assert (set(gateway.answers), gateway.failures) == ({201}, [])


def test_without_notice_gateways_knock_in_vain_but_nothing_that_was_begun_is_lost(running_shop, tmp_path):
    """The control."""
    with under_load(running_shop, tmp_path / "log", SELDOM) as (shop, gateway):
        assert shop.process.wait(40) == 0
        eventually(lambda: gateway.failures)
    assert set(gateway.answers) == {201}
    known = rows("orders", "SELECT count(*) FROM orders_order WHERE email = ANY(%s)", [gateway.failures])
    assert known == [(0,)]


def test_a_worker_that_comes_during_a_drain_is_not_ready_either_and_a_second_wish_to_stop_is_heeded_at_once(tmp_path):
    log = tmp_path / "log"
    with log.open("w") as output, served(output, WEB_WORKERS="2", LOG_LEVEL="INFO", DRAIN_SECONDS="600") as shop:
        eventually(lambda: begun(log) == 2, patience=30)
        shop.process.terminate()
        eventually(lambda: not shop.is_ready())
        os.kill(shop.workers()[0], signal.SIGKILL)
        eventually(lambda: begun(log) == 3, patience=30)
        eventually(lambda: not any(shop.is_ready() for _ in range(20)))  # whichever of the two answers
        shop.process.terminate()
        assert shop.process.wait(40) == 0


def test_a_worker_that_is_killed_is_replaced_and_a_server_that_is_killed_ends_the_tree(tmp_path):
    with (tmp_path / "log").open("w") as output, served(output, WEB_WORKERS="2", LOG_LEVEL="INFO") as shop:
        eventually(lambda: shop.listening() == 2, patience=30)
        before = shop.workers()
        os.kill(before[0], signal.SIGKILL)
        eventually(lambda: before[0] not in shop.workers() and shop.listening() == 2, patience=30)
        assert Shopper(shop.site).order(stocked(1)).status == 201
        server, workers = shop.server(), shop.workers()
        os.kill(server, signal.SIGKILL)
        assert shop.process.wait(40) == 128 + signal.SIGKILL
        assert [pid for pid in workers if Path(f"/proc/{pid}").exists()] == []
    said = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [line["event"] for line in said if line["logger"] == "server" and line["level"] == "error"]


def test_a_container_may_migrate_when_it_starts():
    prefix = f"test_start_{uuid.uuid4().hex[:8]}"
    environment = os.environ | {"DATABASE_PREFIX": prefix}
    databases = [sys.executable, "manage.py", "databases"]
    subprocess.run(databases, cwd=settings.BASE_DIR, env=environment, check=True, capture_output=True)
    with served(DATABASE_PREFIX=prefix, MIGRATE_ON_START="true") as shop:
        assert Shopper(shop.site).get("products").status == 200
        assert shop.stop() == 0
    for context in settings.CONTEXTS:
        superuser(f"DROP DATABASE {prefix}_{context}")
        superuser(f"DROP ROLE {prefix}_{context}")
