"""`make up` starts again what is killed: PostgreSQL, the server, its workers, and their parent."""

import json
import os
import signal
import threading
import time
import urllib.request
from contextlib import contextmanager, suppress

import pytest

from ops.launch.postgres import PostgresServer
from tests.concurrency import eventually
from tests.ops.launch.test_up import LaunchedShop, find_available_sku
from tests.process_trees import find_child_pids

MAX_DARK_SECONDS = 5.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("shop")


@pytest.fixture(scope="module")
def launched(folder):
    launched = LaunchedShop(folder)
    launched.await_ready()
    yield launched
    assert launched.stop() == 0
    assert not PostgresServer(folder).is_running()


class Watch:
    """Read the catalogue all the time, with a new connection each time."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/api/v1/categories"
        self.answered_at = time.monotonic()
        self.longest_gap = 0.0
        self.answers = 0
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._read)

    def _read(self) -> None:
        while not self.stopping.is_set():
            with suppress(OSError), urllib.request.urlopen(self.url, timeout=30) as response:
                json.load(response)
                now = time.monotonic()
                self.longest_gap = max(self.longest_gap, now - self.answered_at)
                self.answered_at, self.answers = now, self.answers + 1
            self.stopping.wait(0.02)

    def await_answers(self, more: int) -> None:
        expected = self.answers + more
        eventually(lambda: self.answers >= expected)


@contextmanager
def watching(launched: LaunchedShop):
    watch = Watch(launched.port)
    watch.thread.start()
    try:
        watch.await_answers(3)
        yield watch
        watch.await_answers(50)
    finally:
        watch.stopping.set()
        watch.thread.join()


def find_tree(launched: LaunchedShop) -> tuple[int, int, list[int]]:
    """Return the process ids of the parent of the server, the server, and its workers."""
    [tree] = find_child_pids(launched.process.pid)
    [server] = find_child_pids(tree)
    return tree, server, find_child_pids(server)


def await_other_workers(launched: LaunchedShop, workers: list[int]) -> None:
    def have_changed() -> bool:
        with suppress(ValueError):  # there is no tree, or no server, for a moment
            found = find_tree(launched)[2]
            return bool(found) and not set(found) & set(workers)
        return False

    eventually(have_changed)


def test_a_killed_server_is_replaced_before_a_client_notices(launched):
    _, server, workers = find_tree(launched)
    with watching(launched) as watch:
        os.kill(server, signal.SIGKILL)
        await_other_workers(launched, workers)
    assert watch.longest_gap < MAX_DARK_SECONDS


def test_the_killed_parent_of_the_server_is_started_again(launched):
    tree, _, workers = find_tree(launched)
    with watching(launched):
        os.kill(tree, signal.SIGKILL)
        await_other_workers(launched, workers)
    assert "The shop exited with status -9, and is started again" in launched.read_output()


def test_a_worker_that_is_killed_twice_in_a_row_does_not_end_the_shop(launched):
    with watching(launched) as watch:
        for _ in range(2):
            workers = find_tree(launched)[2]
            os.kill(workers[0], signal.SIGKILL)
            await_other_workers(launched, workers)
            watch.await_answers(3)
    assert launched.process.poll() is None


def test_a_killed_database_server_is_started_again_and_the_shop_sells(launched, folder):
    shopper = launched.await_ready()
    sku = find_available_sku(shopper)
    with watching(launched):
        PostgresServer(folder).kill()
    eventually(lambda: shopper.order(sku, email="after@example.com").status == 201)
    assert "PostgreSQL was killed, and has been started again" in launched.read_output()


def test_a_second_launcher_on_the_same_data_is_refused_and_the_first_sells(launched, folder):
    second = LaunchedShop(folder)
    assert second.process.wait(30) == 1
    assert f"A shop runs with the data in {folder} already" in second.read_output()
    shopper = launched.await_ready()
    assert shopper.order(find_available_sku(shopper), email="second@example.com").status == 201
