"""The figures of the loader come from real responses, and a wrong response ends the run."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from bench import measure
from bench.operations import OPERATIONS, UNITS
from bench.processes import Failed
from tests.bench.conftest import PRODUCTS
from tests.concurrency import eventually


class FixedResponse(BaseHTTPRequestHandler):
    """Send the response that the test has chosen to every request."""

    protocol_version = "HTTP/1.1"
    status, headers_sent, body = 200, True, b""

    def do_GET(self):
        self.send_response(self.status)
        if self.headers_sent:
            self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *arguments):
        """Print nothing."""


@pytest.fixture
def fixed_response():
    """Return a function that starts a server which sends one response to every request."""
    servers = []

    def start(**attributes):
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Chosen", (FixedResponse,), attributes))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return SimpleNamespace(name="fake", port=server.server_port, products=PRODUCTS)

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_as_many_orders_are_counted_as_the_shop_has_more(control):
    before = control.orders()
    loaded = measure.load(control, "orders", clients=2, seconds=60, seed=1, limit=12)
    assert control.orders() - before == loaded["count"] == 12
    assert 0 < loaded["p50"] <= loaded["p95"] <= loaded["p99"]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_runs_on_satsuma(satsuma, operation):
    assert measure.load(satsuma, operation, clients=2, seconds=60, seed=1, limit=30)["count"] == 30


def test_a_round_counts_the_statements_of_the_shop(control):
    figures, statements = measure.measured(control, "orders", clients=1, seconds=0.5, seed=2)
    assert figures.count > 0
    assert (round(figures.statements), round(figures.frame), round(figures.writes)) == (8, 2, 1)
    assert figures.app_cpu > 0 and figures.database_cpu > 0
    assert any("control_orderline" in statement.text for statement in statements)


@pytest.fixture
def sold_out(control):
    connection = control.connections[control.databases[0]]
    connection.execute("UPDATE control_variant SET stock = 0 WHERE sku LIKE '%-2'")
    yield
    connection.execute("UPDATE control_variant SET stock = %s WHERE sku LIKE '%%-2'", [UNITS])


def test_the_stock_changes_while_customers_read(satsuma, control):
    for shop, database, statement in (
        (satsuma, satsuma.name_database("inventory"), "SELECT sum(on_hand)::bigint FROM inventory_stock"),
        (control, control.databases[0], "SELECT sum(stock)::bigint FROM control_variant"),
    ):
        before = shop.count(database, statement)
        with measure.changing(shop, per_second=1000):
            eventually(lambda: shop.count(database, statement) > before + 10)  # noqa: B023


def test_a_wrong_status_fails_the_run(control, sold_out):
    with pytest.raises(Failed, match=r"POST /api/v1/orders HTTP/1.1 returned 409, not 201"):
        measure.load(control, "orders", clients=2, seconds=60, seed=1, limit=50)


def test_a_right_status_with_the_wrong_content_fails_the_run(fixed_response):
    with pytest.raises(Failed, match='returned 200, not 200 with "available": nothing here'):
        measure.load(fixed_response(body=b"nothing here"), "list", clients=1, seconds=60, seed=1, limit=5)


def test_a_response_of_unknown_length_fails_the_run(fixed_response):
    with pytest.raises(Failed, match="no Content-Length"):
        measure.load(fixed_response(body=b"x", headers_sent=False), "list", clients=1, seconds=60, seed=1, limit=5)


def test_control_the_right_response_does_not_fail_the_run(fixed_response):
    body = json.dumps({"results": [{"available": 1}]}).encode()
    assert measure.load(fixed_response(body=body), "list", clients=3, seconds=60, seed=1, limit=90)["count"] == 90


def test_an_order_that_the_shop_does_not_have_fails_the_round(control):
    original = control.orders
    control.orders = lambda: 0
    try:
        with pytest.raises(Failed, match="but its tables have 0 more"):
            measure.measured(control, "orders", clients=1, seconds=0.3, seed=3)
    finally:
        control.orders = original
