"""`make up` starts a working shop from an empty folder, and leaves no process running when it stops."""

import os
import re
import signal
import socket
import subprocess
import sys
import uuid

import pytest
from django.conf import settings

from ops.launch.data_folder import ADDRESS_FILE_NAME
from ops.launch.postgres import PostgresServer
from tests.concurrency import eventually
from tests.shopper import Shopper

KEPT_VARIABLES = ("PATH", "HOME", "LANG", "TMPDIR")


class LaunchedShop:
    """Run the launcher in its own folder, with the environment of a new user."""

    def __init__(self, folder, **environment: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.log = folder / f"log-{uuid.uuid4().hex}"
        kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ops.launch.up"],
            env=kept | {"DATA_DIR": str(folder), "PORT": str(self.port)} | environment,
            stdout=self.log.open("w"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def read_output(self) -> str:
        return self.log.read_text()

    def await_ready(self) -> Shopper:
        """Wait until the shop is ready, and return a client of it."""
        eventually(lambda: "Ctrl-C" in self.read_output() or self.process.poll() is not None)
        assert self.process.poll() is None, self.read_output()
        return Shopper(f"http://127.0.0.1:{self.port}")

    def stop(self, signum: int = signal.SIGTERM) -> int:
        self.process.send_signal(signum)
        return self.process.wait(30)


def find_available_sku(shopper: Shopper) -> str:
    found = shopper.get("products?in_stock=true").body["results"]
    return next(v["sku"] for p in found for v in p["variants"] if v["available"] > 3)


def test_a_new_shop_keeps_its_data_after_a_stop_and_a_kill(tmp_path):
    first = LaunchedShop(tmp_path)
    shopper = first.await_ready()
    output = first.read_output()
    assert re.search(r"/api/docs/\n.*/admin/ .* password: \S{10,}", output)
    assert "Starting PostgreSQL ... " in output
    assert len(shopper.get("categories").body["results"]) >= 8
    order = shopper.order(find_available_sku(shopper)).body
    assert order["status"] == "confirmed"
    storefront = "http://localhost:5173"  # of a developer, on another port
    assert shopper.get("categories", Origin=storefront).headers["access-control-allow-origin"] == storefront
    assert run_demo(tmp_path, f"1 order by 1 customer at a time, at http://127.0.0.1:{first.port}\n")
    assert first.stop() == 0
    assert not (tmp_path / ADDRESS_FILE_NAME).exists()
    assert not PostgresServer(tmp_path).is_running()

    second = LaunchedShop(tmp_path)
    shopper = second.await_ready()
    assert (
        "as shown at the first start (a new one: manage.py changepassword staff@satsuma.example)"
        in second.read_output()
    )
    assert shopper.get_order(order)["number"] == order["number"]
    killed = shopper.order(find_available_sku(shopper)).body
    os.kill(second.process.pid, signal.SIGKILL)
    second.process.wait()
    PostgresServer(tmp_path).kill()

    third = LaunchedShop(tmp_path)
    shopper = third.await_ready()
    assert shopper.get_order(killed)["status"] == "confirmed"
    assert third.stop(signal.SIGINT) == 0
    assert not PostgresServer(tmp_path).is_running()


def test_a_shop_sells_in_its_currency_and_refuses_to_start_in_another(tmp_path):
    first = LaunchedShop(tmp_path, CURRENCY="JPY")
    shopper = first.await_ready()
    sku = find_available_sku(shopper)
    bought = shopper.order(sku).body
    assert bought["totals"]["total"]["currency"] == "JPY"
    assert bought["totals"]["total"]["amount"] < 1000  # the sample catalogue costs less than 1,000.00 EUR
    eventually(lambda: shopper.get_order(bought)["payment"]["status"] == "captured")
    assert first.stop() == 0

    refused = LaunchedShop(tmp_path, CURRENCY="USD")
    assert refused.process.wait(60) == 1
    assert "prices are in JPY, but CURRENCY is USD" in refused.read_output()
    assert "Traceback" not in refused.read_output()
    assert not PostgresServer(tmp_path).is_running()

    again = LaunchedShop(tmp_path, CURRENCY="JPY")
    shopper = again.await_ready()
    cart = shopper.post("carts").body["id"]
    convert = "set -a; . $DATA_DIR/env; CURRENCY=USD exec $PYTHON manage.py currency --convert 0.5"
    environment = {"PATH": os.environ["PATH"], "DATA_DIR": str(tmp_path), "PYTHON": sys.executable}
    subprocess.run(["sh", "-c", convert], cwd=settings.BASE_DIR, env=environment, check=True, capture_output=True)
    for answer in (shopper.order(sku), shopper.send("PUT", f"carts/{cart}/items/{sku}", {"quantity": 1})):
        assert (answer.status, answer.body["code"]) == (409, "orders.currency_mismatch")
        assert answer.body["facts"] == {"sku": sku, "offered": "USD", "currency": "JPY"}
    assert again.stop() == 0

    last = LaunchedShop(tmp_path, CURRENCY="USD")
    shopper = last.await_ready()
    total = shopper.order(sku).body["totals"]["total"]
    assert total == {"amount": bought["totals"]["total"]["amount"] * 50, "currency": "USD"}
    assert shopper.get_order(bought)["totals"]["total"]["currency"] == "JPY"
    assert last.stop() == 0


def test_a_shell_that_has_loaded_the_settings_of_the_shop_starts_it_again(tmp_path):
    first = LaunchedShop(tmp_path)
    sku = find_available_sku(first.await_ready())
    assert first.stop() == 0
    load = ["sh", "-c", f"set -a; . {tmp_path}/env; exec env --null"]
    lines = subprocess.run(load, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=True).stdout
    loaded = dict(line.split("=", 1) for line in lines.split("\0") if line)
    assert loaded["DATABASE_URL"] == PostgresServer(tmp_path).url

    again = LaunchedShop(tmp_path, **loaded)
    assert again.await_ready().order(sku).status == 201
    assert again.stop() == 0
    assert not PostgresServer(tmp_path).is_running()


def run_demo(data_folder, expected: str) -> bool:
    """Run `manage.py demo` without --url and return whether it prints the expected text and succeeds."""
    done = subprocess.run(
        [sys.executable, "manage.py", "demo", "--orders", "1", "--clients", "1"], cwd=settings.BASE_DIR,
        env={"PATH": os.environ["PATH"], "DATA_DIR": str(data_folder)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode == 0 and expected in done.stdout


@pytest.mark.parametrize("port", ["0", "65536", "eighty"])
def test_an_invalid_port_is_refused(tmp_path, port):
    launched = LaunchedShop(tmp_path, PORT=port)
    assert launched.process.wait(30) == 1
    assert f"PORT is {port!r}" in launched.read_output()


def test_a_port_in_use_is_reported(tmp_path):
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # as granian does
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        launched = LaunchedShop(tmp_path, PORT=str(taken.getsockname()[1]))
        assert launched.process.wait(30) == 1
    assert "cannot be used" in launched.read_output()
    assert "PORT=" in launched.read_output()


def test_an_invalid_setting_stops_it_with_its_name(tmp_path):
    launched = LaunchedShop(tmp_path, CURRENCY="EUR", RESERVATION_HOLD_SECONDS="soon")
    assert launched.process.wait(60) == 1
    assert "RESERVATION_HOLD_SECONDS" in launched.read_output()
    assert "Traceback" not in launched.read_output()
    assert not PostgresServer(tmp_path).is_running()
