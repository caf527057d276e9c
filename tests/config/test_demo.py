"""`manage.py demo`: customers who need nothing but the address of a shop."""

import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command

from config.demo.run import progress
from config.demo.stories import DECK
from tests.inventory.stock import product
from tests.journeys.conftest import RunningShop

MANAGE = Path(__file__).parents[2] / "manage.py"


def demo(*arguments: str) -> subprocess.CompletedProcess:
    """Run it as a stranger would, without any of the shop's settings."""
    environment = {"PATH": os.environ["PATH"]}
    command = [sys.executable, str(MANAGE), "demo", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def shop():
    shop = RunningShop()
    yield shop.site
    shop.stop()


def test_twenty_customers_meet_with_everything_that_can_happen(shop):
    product((1000, 1000, 1000))
    done = demo("--orders", "20", "--url", shop, "--clients", "4")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\r" not in done.stdout and "\x1b" not in done.stdout
    table = re.findall(r"^ +(\d+)  (.+?)  +(.+)$", done.stdout, re.MULTILINE)
    assert sum(int(often) for often, _, _ in table) == 20
    assert {end for _, end, _ in table} >= {"confirmed", "declined", "out of stock", "cancelled"}
    assert {story for _, _, story in table} == {story.name for story in DECK}
    assert re.search(r"20 orders in [\d.]+ s: [\d.]+ orders/s, placing one took \d+ ms \(p50\), \d+ ms \(p95\)", done.stdout)
    assert f"{shop}/admin/orders/order/" in done.stdout


def test_the_same_seed_is_the_same_customers(shop):
    product((1000, 1000, 1000))
    tables = [re.findall(r"^ +\d+ .*$", demo("--orders", "5", "--url", shop, "--seed", "7").stdout, re.M) for _ in range(2)]
    assert tables[0] == tables[1] != []


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("--url", "http://127.0.0.1:1"), 1, "No shop answers at http://127.0.0.1:1 (Connection refused). Start one"),
        (("--url", "127.0.0.1:8000"), 1, "127.0.0.1:8000 is not the address of a shop"),
        (("--url", "http://127.0.0.1:99999"), 1, "is not the address of a shop"),
        (("--orders", "0"), 2, "0 is not a number from 1 to 1000000"),
        (("--clients", "many"), 2, "many is not a number from 1 to 256"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said_in_a_sentence(arguments, status, said):
    done = demo(*arguments)
    assert done.returncode == status
    assert said in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_the_command_is_the_same():
    said = StringIO()
    with pytest.raises(SystemExit) as stopped:
        call_command("demo", url="http://127.0.0.1:1", stderr=said)
    assert (stopped.value.code, "No shop answers" in said.getvalue()) == (1, True)


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_a_bar():
    terminal = Terminal()
    with progress(4, terminal) as step:
        step()
        step()
    assert terminal.getvalue().split("\r")[-1] == f"  [{'#' * 15}{'.' * 15}] 2/4\n"


class Broken(BaseHTTPRequestHandler):
    """Something that has a catalogue (or not) and cannot take an order."""

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
        """Say nothing."""


class Closed(Broken):
    catalogue = None


class SoldOut(Broken):
    catalogue = {"results": [{"variants": [{"sku": "MUG", "available": 0}]}], "next": None}


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Broken, "POST /api/v1/orders answered 500: It broke. ("),
        (Closed, "is no Satsuma: GET /api/v1/products said 500."),
        (SoldOut, "has nothing left to sell"),
    ],
)
def test_a_shop_that_answers_wrongly_is_named_and_the_status_tells(kind, said):
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        done = demo("--orders", "20", "--url", f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        server.server_close()
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
