"""The process tree of a container: it replaces killed workers, and no request fails when it stops."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import IO

from django.conf import settings

from ops.launch.processes import is_dead
from shop.db.database import fetch_rows
from tests.concurrency import eventually
from tests.factories import create_sku
from tests.journeys.running_shop import RunningShop
from tests.process_trees import STOP_TIMEOUT_SECONDS, find_child_pids, kill_process_tree, start_process_tree
from tests.shop.db.superuser_session import execute_as_superuser
from tests.shopper import Shopper

BUYERS = 3
POLL_INTERVAL_SECONDS = 0.2  # how often a gateway reads /ready
NEVER_SECONDS = 3600.0
TCP_LISTEN = "0A"  # the state of a listening socket in /proc/net/tcp


class ServedShop(RunningShop):
    """A shop started by `python -m ops.launch.serve`, as the image does it."""

    def _launch(self) -> subprocess.Popen:
        environment = self.environment | {"PORT": str(self.port), "WEB_HOST": "127.0.0.1"}
        return start_process_tree(environment, stdout=self.output, stderr=self.output)

    def close(self) -> None:
        kill_process_tree(self.process)

    def find_server(self) -> int:
        [pid] = find_child_pids(self.process.pid)
        return pid

    def find_servers(self) -> list[int]:
        return find_child_pids(self.process.pid)

    def find_workers(self) -> list[int]:
        return find_child_pids(self.find_server())

    def count_listening_workers(self) -> int:
        """Count the workers that accept connections: each has its own socket for the port."""
        sockets = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
        return sum(fields[1].endswith(f":{self.port:04X}") and fields[3] == TCP_LISTEN for fields in sockets)


def serve(output: IO | None = None, **environment: str) -> closing[ServedShop]:
    return closing(ServedShop(output, **environment))


class Gateway:
    """A gateway in front of several shops, and buyers who order through it without any retry.

    poll_interval: how often it reads which shops are ready, in seconds.
    """

    def __init__(self, *shops: RunningShop, poll_interval: float) -> None:
        self.shops = shops
        self.poll_interval = poll_interval
        self.ready = list(shops)
        self.sku = create_sku(5_000)
        self.answers: list[int] = []
        self.failures: list[str] = []
        self.stopping = threading.Event()
        self.rounds = [0] * BUYERS  # by buyer: how many requests have ended
        self.threads = [threading.Thread(target=self._poll)]
        self.threads += [threading.Thread(target=self._buy, args=[buyer]) for buyer in range(BUYERS)]

    def _poll(self) -> None:
        while not self.stopping.wait(self.poll_interval):
            self.ready = [shop for shop in self.shops if shop.is_ready()] or self.ready

    def _buy(self, buyer: int) -> None:
        while not self.stopping.is_set():
            email = f"{uuid.uuid4().hex}@example.com"
            try:
                self.answers.append(Shopper(random.choice(self.ready).site).order(self.sku, email=email).status)
            except OSError:
                self.failures.append(email)
            self.rounds[buyer] += 1

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def await_redirect(self, shop: RunningShop) -> None:
        """Wait until no buyer sends requests to a shop, or has one there."""
        eventually(lambda: shop not in self.ready)
        before = list(self.rounds)
        eventually(lambda: all(now > then for now, then in zip(self.rounds, before, strict=True)))

    def await_sales(self, more: int) -> None:
        """Wait until this many further orders are answered."""
        expected = len(self.answers) + more
        eventually(lambda: len(self.answers) >= expected)


def count_loaded_workers(log: Path) -> int:
    """Count the workers that have started."""
    return log.read_text().count('"engine_started"')


@contextmanager
def stopping_under_load(
    running_shop, log: Path, poll_interval: float, **environment: str
) -> Iterator[tuple[ServedShop, Gateway]]:
    """Stop a shop with SIGTERM while buyers order from it and from another one."""
    with log.open("w") as output, serve(output, WEB_WORKERS="2", LOG_LEVEL="INFO", **environment) as shop:
        eventually(lambda: count_loaded_workers(log) == 2)
        with Gateway(running_shop, shop, poll_interval=poll_interval) as gateway:
            gateway.await_sales(10)
            shop.process.terminate()
            yield shop, gateway
            gateway.await_sales(10)


def test_a_stop_under_load_fails_no_request(running_shop, tmp_path):
    """The drain lasts until the gateway has noticed it, however slow the machine is; a second signal then ends it."""
    log, drain_seconds = tmp_path / "log", "600"
    with stopping_under_load(running_shop, log, POLL_INTERVAL_SECONDS, DRAIN_SECONDS=drain_seconds) as (shop, gateway):
        gateway.await_redirect(shop)
        assert Shopper(shop.site).get("categories").status == 200, "it continues to serve"
        assert shop.stop() == 0
    assert (set(gateway.answers), gateway.failures) == ({201}, [])


def test_control_without_drain_connections_fail_but_no_started_request_is_lost(running_shop, tmp_path):
    with stopping_under_load(running_shop, tmp_path / "log", NEVER_SECONDS) as (shop, gateway):
        assert shop.process.wait(STOP_TIMEOUT_SECONDS) == 0
        eventually(lambda: gateway.failures)
    assert set(gateway.answers) == {201}
    stored = fetch_rows("orders", "SELECT count(*) FROM orders_order WHERE email = ANY(%s)", [gateway.failures])
    assert stored == [(0,)]


def test_a_worker_started_during_a_drain_is_not_ready_and_a_second_stop_is_immediate(tmp_path):
    log = tmp_path / "log"
    with log.open("w") as output, serve(output, WEB_WORKERS="2", LOG_LEVEL="INFO", DRAIN_SECONDS="600") as shop:
        eventually(lambda: count_loaded_workers(log) == 2)
        shop.process.terminate()
        eventually(lambda: not shop.is_ready())
        os.kill(shop.find_workers()[0], signal.SIGKILL)
        eventually(lambda: count_loaded_workers(log) == 3)
        eventually(lambda: not any(shop.is_ready() for _ in range(20)))  # either of the two workers may respond
        assert shop.stop() == 0


def test_a_killed_worker_is_replaced_and_so_is_a_killed_server(tmp_path):
    with (tmp_path / "log").open("w") as output, serve(output, WEB_WORKERS="2", LOG_LEVEL="INFO") as shop:
        eventually(lambda: shop.count_listening_workers() == 2)
        before = shop.find_workers()
        os.kill(before[0], signal.SIGKILL)
        eventually(lambda: before[0] not in shop.find_workers() and shop.count_listening_workers() == 2)
        assert Shopper(shop.site).order(create_sku(1)).status == 201
        server, workers = shop.find_server(), shop.find_workers()
        os.kill(server, signal.SIGKILL)
        assert try_order(shop) == 201, "the workers serve until others have started"
        eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
        eventually(lambda: shop.count_listening_workers() == 2)
        assert Shopper(shop.site).order(create_sku(1)).status == 201
        assert shop.stop() == 0
    entries = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [line["status"] for line in entries if line["event"] == "server_restarted"] == [-signal.SIGKILL]


def try_order(shop) -> int | ConnectionError:
    """Place an order. Returns the status, or the error of a shop that does not listen."""
    try:
        return Shopper(shop.site).order(create_sku(1)).status
    except ConnectionError as error:
        return error


def kill_processes(pids: list[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_workers_that_are_killed_again_and_again_are_replaced():
    """The server gives up after the second worker within seconds, and is started again itself."""
    with serve(WEB_WORKERS="1") as shop:
        first = shop.find_server()
        eventually(lambda: kill_processes(find_child_pids(first)) or shop.find_servers() not in ([], [first]))
        eventually(shop.is_ready)
        assert Shopper(shop.site).get("categories").status == 200


def test_a_server_that_keeps_failing_ends_the_tree():
    """It is started again a few times only: an orchestrator sees then that the shop cannot work."""
    with serve(WEB_WORKERS="1") as shop:
        eventually(lambda: kill_processes(shop.find_servers()) or shop.process.poll() is not None)
        assert shop.process.returncode == 128 + signal.SIGKILL


def test_a_worker_without_parents_stops():
    """It would keep the port from its successors."""
    with serve(WEB_WORKERS="1") as shop:
        server, [worker] = shop.find_server(), shop.find_workers()
        shop.process.kill()
        os.kill(server, signal.SIGKILL)
        shop.process.wait()
        eventually(lambda: is_dead(worker))


def test_a_container_migrates_when_it_starts_and_drains_when_it_stops():
    prefix = f"test_start_{uuid.uuid4().hex[:8]}"
    environment = os.environ | {"DATABASE_PREFIX": prefix}
    databases = [sys.executable, "manage.py", "databases"]
    subprocess.run(databases, cwd=settings.BASE_DIR, env=environment, check=True, capture_output=True)
    try:
        with serve(DATABASE_PREFIX=prefix, MIGRATE_ON_START="true", DRAIN_SECONDS="1") as shop:
            assert Shopper(shop.site).get("products").status == 200
            assert shop.stop() == 0
    finally:
        for context in settings.CONTEXTS:
            execute_as_superuser(f"DROP DATABASE {prefix}_{context} WITH (FORCE)")
            execute_as_superuser(f"DROP ROLE {prefix}_{context}")
        execute_as_superuser(f"DROP ROLE {prefix}_owner")
