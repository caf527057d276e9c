"""`make up`, from an empty folder to a shop that sells, and what is left when it is stopped or killed."""

import os
import re
import signal
import socket
import subprocess
import sys
import uuid

import pytest

from config.embedded import Server
from tests.shopper import Shopper
from tests.threads import eventually

KEPT = ("PATH", "HOME", "LANG", "TMPDIR")


class Launched:
    """The launcher in a folder of its own, with an environment as empty as a stranger's."""

    def __init__(self, folder, **environment: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.log = folder / f"log-{uuid.uuid4().hex}"
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "config.up"],
            env=kept | {"DATA_DIR": str(folder), "PORT": str(self.port)} | environment,
            stdout=self.log.open("w"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def said(self) -> str:
        return self.log.read_text()

    def sells(self) -> Shopper:
        """Wait until it does."""
        eventually(lambda: "Ctrl-C" in self.said() or self.process.poll() is not None, patience=60)
        assert self.process.poll() is None, self.said()
        return Shopper(f"http://127.0.0.1:{self.port}")

    def stop(self, how: int = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.process.wait(30)


def something_to_buy(shopper: Shopper) -> str:
    found = shopper.get("products?in_stock=true").body["results"]
    return next(v["sku"] for p in found for v in p["variants"] if v["available"] > 3)


def test_a_shop_from_nothing_goes_on_with_its_data_after_a_stop_and_after_a_kill(tmp_path):
    first = Launched(tmp_path)
    shopper = first.sells()
    said = first.said()
    assert re.search(r"/api/docs/\n.*/admin/ .* password: \S{10,}", said)
    assert "Starting PostgreSQL ... " in said
    assert len(shopper.get("categories").body["results"]) >= 8
    order = shopper.order(something_to_buy(shopper)).body
    assert order["status"] == "confirmed"
    assert first.stop() == 0
    assert not Server(tmp_path).running()

    second = Launched(tmp_path)
    shopper = second.sells()
    assert "as shown at the first start" in second.said()
    assert shopper.look_at(order)["number"] == order["number"]
    killed = shopper.order(something_to_buy(shopper)).body
    os.kill(second.process.pid, signal.SIGKILL)
    second.process.wait()
    Server(tmp_path).kill()

    third = Launched(tmp_path)
    shopper = third.sells()
    assert shopper.look_at(killed)["status"] == "confirmed"
    assert third.stop(signal.SIGINT) == 0
    assert not Server(tmp_path).running()


@pytest.mark.parametrize("port", ["0", "65536", "eighty"])
def test_a_port_that_is_none_is_refused(tmp_path, port):
    launched = Launched(tmp_path, PORT=port)
    assert launched.process.wait(30) == 1
    assert f"PORT is {port!r}" in launched.said()


def test_a_port_that_is_taken_is_said_to_be(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        launched = Launched(tmp_path, PORT=str(taken.getsockname()[1]))
        assert launched.process.wait(30) == 1
    assert "cannot be used" in launched.said()
    assert "PORT=" in launched.said()


def test_a_wrong_setting_stops_it_with_its_name(tmp_path):
    launched = Launched(tmp_path, CURRENCY="EUR", RESERVATION_HOLD_SECONDS="soon")
    assert launched.process.wait(60) == 1
    assert "RESERVATION_HOLD_SECONDS" in launched.said()
    assert "Traceback" not in launched.said()
    assert not Server(tmp_path).running()
