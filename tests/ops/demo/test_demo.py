"""`manage.py demo` needs nothing but the address of a running shop, and finds the one that `make up` started."""

import json
import os
import random
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command

from ops.demo import outcomes, run
from ops.demo.client import Client
from ops.demo.outcomes import find_outcome
from ops.demo.run import show_progress
from ops.demo.scenarios import SCENARIOS, Customer, Scenario, order_with_account, order_with_approval
from ops.launch.data_folder import ADDRESS_FILE_NAME
from tests.concurrency import eventually
from tests.factories import create_product
from tests.journeys.running_shop import RunningShop

MANAGE = Path(__file__).parents[3] / "manage.py"


def demo(*arguments: str, **variables: str) -> subprocess.CompletedProcess:
    """Run the demo without any of the shop's settings."""
    environment = {"PATH": os.environ["PATH"]} | variables
    command = [sys.executable, str(MANAGE), "demo", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def shop():
    with closing(RunningShop()) as shop:
        yield shop.site


def test_twenty_customers_cover_every_outcome(shop):
    create_product((1000, 1000, 1000))
    done = demo("--orders", "20", "--url", shop, "--clients", "4")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\r" not in done.stdout and "\x1b" not in done.stdout
    table = re.findall(r"^ +(\d+)  (.+?)  +(.+)$", done.stdout, re.MULTILINE)
    assert sum(int(count) for count, _, _ in table) == 20
    assert {outcome for _, outcome, _ in table} >= {"confirmed", "declined", "out of stock", "cancelled"}
    assert {name for _, _, name in table} == {scenario.name for scenario in SCENARIOS}
    assert re.search(
        r"20 orders in [\d.]+ s: [\d.]+ orders/s, placing one took \d+ ms \(p50\), \d+ ms \(p95\)", done.stdout
    )
    assert f"{shop}/admin/orders/order/" in done.stdout


def order_of_a_customer(site: str, sku: str):
    scenario = Scenario("customer with a cart", order_with_account)
    return order_with_account(Customer(Client(site), [sku], random.Random(1)), scenario)


def test_a_cart_that_sold_out_meanwhile_is_an_order_out_of_stock(shop):
    [sku] = create_product((0,))
    placed = order_of_a_customer(shop, sku)
    assert find_outcome(placed) == "out of stock"
    assert "out of stock" in placed.scenario.expected_outcomes


def test_an_order_is_read_after_the_access_token_that_placed_it_has_expired():
    [sku] = create_product((1000,))
    with closing(RunningShop(ACCESS_TOKEN_SECONDS="1")) as shop:
        placed = order_of_a_customer(shop.site, sku)
        client = placed.customer.client
        client.token = placed.customer.token
        eventually(lambda: client.send("GET", "users/me")[0] == 401)
        client.token = ""
        assert placed.read()["status"] == "confirmed"
        client.close()


def test_the_same_seed_is_the_same_customers(shop):
    create_product((1000, 1000, 1000))
    tables = [
        re.findall(r"^ +\d+ .*$", demo("--orders", "5", "--url", shop, "--seed", "7").stdout, re.M) for _ in range(2)
    ]
    assert tables[0] == tables[1] != []


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("--url", "http://127.0.0.1:1"), 1, "No shop answers at http://127.0.0.1:1 (Connection refused). Start one"),
        (("--url", "127.0.0.1:8000"), 1, "127.0.0.1:8000 is not the address of a shop"),
        (("--url", "http://127.0.0.1:99999"), 1, "is not the address of a shop"),
        (("--url", "http://me:secret@127.0.0.1:1"), 1, "contains a user name or password, which it does not need"),
        (("--orders", "0"), 2, "0 is not a number from 1 to 1000000"),
        (("--clients", "many"), 2, "many is not a number from 1 to 256"),
    ],
)  # fmt: skip
def test_a_failure_is_reported_in_one_sentence(arguments, status, message):
    done = demo(*arguments)
    assert done.returncode == status
    assert message in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_without_url_the_shop_of_make_up_is_found(shop, tmp_path):
    create_product((1000, 1000, 1000))
    (tmp_path / ADDRESS_FILE_NAME).write_text(f"{shop}\n")
    done = demo("--orders", "1", DATA_DIR=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert f"at {shop}\n" in done.stdout


def test_without_url_a_shop_that_has_ended_is_reported(tmp_path):
    (tmp_path / ADDRESS_FILE_NAME).write_text("http://127.0.0.1:1\n")
    done = demo(DATA_DIR=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == (
        f"No shop found: `make up` with its data in {tmp_path} has ended: nothing answers at http://127.0.0.1:1 "
        "(Connection refused). Start one with `make up`, or give its address with --url.\n"
    )


def test_without_url_a_shop_that_was_never_started_is_reported(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run, "DEFAULT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    assert run.main([]) == 1
    assert capsys.readouterr().err.startswith(
        f"No shop found: `make up` with its data in {tmp_path} is not running, and nothing answers at http://127.0.0.1:1 ("
    )


def test_the_management_command_runs_the_same_demo():
    errors = StringIO()
    with pytest.raises(SystemExit) as stopped:
        call_command("demo", url="http://127.0.0.1:1", stderr=errors)
    assert (stopped.value.code, "No shop answers" in errors.getvalue()) == (1, True)


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_a_bar():
    terminal = Terminal()
    with show_progress(4, terminal) as step:
        step()
        step()
    assert terminal.getvalue().split("\r")[-1] == f"  [{'#' * 15}{'.' * 15}] 2/4\n"


class Broken(BaseHTTPRequestHandler):
    """A server that may have a catalogue, and that fails to take orders."""

    catalogue = {"results": [{"variants": [{"sku": "MUG", "available": 99}]}], "next": None}

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        shown = self.command == "GET" and "products" in self.path and self.catalogue
        data = json.dumps(self.catalogue if shown else {"detail": "It broke."}).encode()
        self.send_response(200 if shown else 500)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = answer

    def log_message(self, *_) -> None:
        """Print nothing."""


class Closed(Broken):
    catalogue = None


class SoldOut(Broken):
    catalogue = {"results": [{"variants": [{"sku": "MUG", "available": 0}]}], "next": None}


class Slow(Broken):
    """A shop that confirms one order after the other: the nth when it has been read n times."""

    orders: list[int] = []  # how often each was read
    approved: list[str] = []

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, body = self.get_answer()
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = answer

    def get_answer(self) -> tuple[int, dict]:
        if "products" in self.path:
            return 200, self.catalogue
        if "approve" in self.path:
            self.approved.append(self.path)
            return 200, {}
        if self.command == "POST":
            self.orders.append(0)
            return 202, self.get_order(len(self.orders) - 1, "pending")
        number = int(self.path.rpartition("/")[2])
        self.orders[number] += 1
        return 200, self.get_order(number, "confirmed" if self.orders[number] > number else "pending")

    def get_order(self, number: int, status: str) -> dict:
        action = {"url": "http://127.0.0.1/sandbox/1/approve"} if self.orders[number] else None
        return {
            "id": number, "number": str(number), "token": "t", "status": status, "payment": {"action": action},
            "approved": "/sandbox/1/approve" in self.approved,
        }  # fmt: skip


def test_the_orders_of_a_shop_that_settles_them_slowly_are_right(monkeypatch):
    guest, approval = SCENARIOS[0], next(one for one in SCENARIOS if one.name == "card needs approval")
    monkeypatch.setattr(run, "SCENARIOS", (guest,) * 11 + (approval,))
    monkeypatch.setattr(outcomes, "SETTLE_TIMEOUT_SECONDS", 1.0)  # for one of them; all take longer
    monkeypatch.setattr(Slow, "orders", [])
    output, errors = StringIO(), StringIO()
    with serving(Slow) as site:
        status = run.run_demo(orders=12, url=site, clients=1, seed=1, out=output, err=errors)
    assert (status, errors.getvalue()) == (0, "")
    assert re.search(r"^ +11  confirmed +guest$", output.getvalue(), re.MULTILINE)
    assert re.search(r"^ +1  confirmed +card needs approval$", output.getvalue(), re.MULTILINE)


def test_the_approval_page_of_an_order_may_come_later(monkeypatch):
    monkeypatch.setattr(Slow, "orders", [0])
    monkeypatch.setattr(Slow, "approved", [])
    [scenario] = {one for one in SCENARIOS if one.name == "card needs approval"}
    with serving(Slow) as site:
        client = Client(site)
        placed = order_with_approval(Customer(client, ["MUG"], random.Random(1)), scenario)
        assert placed.body["payment"]["action"] is None, "it was accepted without"
        assert placed.read()["approved"]
        client.close()


class Stuck(Slow):
    """A shop that never confirms an order."""

    def get_order(self, number: int, status: str) -> dict:
        return super().get_order(number, "pending")


def test_control_an_order_that_never_settles_is_an_error(monkeypatch):
    monkeypatch.setattr(run, "SCENARIOS", (SCENARIOS[0],))
    monkeypatch.setattr(outcomes, "SETTLE_TIMEOUT_SECONDS", 0.3)
    monkeypatch.setattr(Slow, "orders", [])
    errors = StringIO()
    with serving(Stuck) as site:
        status = run.run_demo(orders=2, url=site, clients=1, seed=1, out=StringIO(), err=errors)
    assert status == 1
    assert errors.getvalue() == "An order of the scenario 'guest' has the outcome: pending (2 times)\n"


@contextmanager
def serving(kind: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serve in a thread, and yield the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Broken, "POST /api/v1/orders returned 500: It broke. ("),
        (Closed, "is not Satsuma: GET /api/v1/products returned 500."),
        (SoldOut, "has nothing left in stock"),
    ],
)
def test_a_shop_with_invalid_responses_is_reported_with_exit_status(kind, message):
    with serving(kind) as site:
        done = demo("--orders", "20", "--url", site)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
