"""The gateway runs in a real nginx, in front of small servers that stand for the processes of the shop."""

import http.client
import http.server
import json
import re
import socket
import subprocess
import threading
from contextlib import ExitStack, closing, contextmanager, suppress

import pytest
from django.conf import settings

from ops.deploy import gateway
from ops.launch.split import NGINX_TEMPLATE
from tests.concurrency import eventually
from tests.ops.deploy.dns_server import NameServer
from tests.ports import reserve_port

FORWARDING = {
    "X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example", "X-Forwarded-Port": "1",
    "X-Real-IP": "203.0.113.9", "Forwarded": "for=203.0.113.9;proto=https", "X_Forwarded_For": "203.0.113.9",
} | dict.fromkeys(gateway.DROPPED_HEADERS, "evil.example")  # fmt: skip


class Echo(http.server.BaseHTTPRequestHandler):
    """Answer with the path and the headers of a request, and the name of the server."""

    def do_GET(self):
        body = {"path": self.path, "headers": {name.lower(): value for name, value in self.headers.items()}}
        answer = json.dumps(body | {"server": self.server.server_address[0]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


@contextmanager
def echo_server(host: str = "127.0.0.1", port: int = 0):
    with http.server.ThreadingHTTPServer((host, port), Echo) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def running_gateway(folder, upstream: str, *, shorten: bool = False, **options):
    """Start nginx with every context at one address. shorten: wait 1 s for an answer instead of ANSWER_TIMEOUT_SECONDS."""
    port = reserve_port()
    text = gateway.render_nginx(dict.fromkeys(settings.ALL_CONTEXTS, upstream), f"127.0.0.1:{port}", **options)
    if shorten:
        text, count = re.subn(rf"proxy_read_timeout {gateway.ANSWER_TIMEOUT_SECONDS}s;", "proxy_read_timeout 1s;", text)
        assert count == 1
    (folder / "satsuma.conf").write_text(text)
    (folder / "nginx.conf").write_text(NGINX_TEMPLATE.format(folder=folder))
    nginx = subprocess.Popen(["nginx", "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")])
    try:
        eventually(lambda: nginx.poll() is not None or accepts(port))
        assert nginx.poll() is None
        yield port
    finally:
        nginx.terminate()
        nginx.wait(20)


def accepts(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def get(port: int, path: str, **headers: str) -> tuple[int, dict, http.client.HTTPMessage]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, json.load(response), response.headers


def test_forwarding_headers_of_clients_are_dropped(tmp_path):
    with echo_server() as server, running_gateway(tmp_path, f"127.0.0.1:{server}") as port:
        _, found, _ = get(port, "/api/v1/products", **FORWARDING)
    sent = {name.lower() for name in FORWARDING}
    assert {name: value for name, value in found["headers"].items() if name in sent} == {
        "x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "http",
    }  # fmt: skip


def test_a_trusted_proxy_in_front_passes_on_client_and_scheme(tmp_path):
    with (
        echo_server() as server,
        running_gateway(tmp_path, f"127.0.0.1:{server}", trusted_proxies=["127.0.0.1"]) as port,
    ):
        _, found, _ = get(port, "/api/v1/products", **FORWARDING)
    assert found["headers"]["x-forwarded-for"] == "203.0.113.9, 127.0.0.1"
    assert found["headers"]["x-forwarded-proto"] == "https"
    assert not found["headers"].keys() & {name.lower() for name in gateway.DROPPED_HEADERS}


def test_ready_asks_for_all_contexts(tmp_path):
    with echo_server() as server, running_gateway(tmp_path, f"127.0.0.1:{server}") as port:
        assert get(port, "/ready")[1]["path"] == "/ready?scope=shop"
        assert get(port, "/health?x=1")[1]["path"] == "/health?x=1"


def test_a_context_that_is_down_or_mute_is_answered_with_a_problem(tmp_path):
    with ExitStack() as stack:
        mute = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        address = f"127.0.0.1:{mute.getsockname()[1]}"
        port = stack.enter_context(running_gateway(tmp_path, address, shorten=True))
        answers = [get(port, "/api/v1/products")]
        mute.close()
        answers.append(get(port, "/api/v1/products"))
    assert [status for status, _, _ in answers] == [504, 502]
    for status, problem, headers in answers:
        assert (problem["code"], problem["status"]) == ("shop.unavailable", status)
        assert (headers["Content-Type"], headers["Retry-After"]) == ("application/problem+json", "1")


def test_a_host_is_found_at_its_new_address(tmp_path):
    """A container is replaced, and another one has its former address now."""
    with ExitStack() as stack:
        port = stack.enter_context(echo_server("127.0.0.2"))
        stack.enter_context(echo_server("127.0.0.3", port))
        names = stack.enter_context(closing(NameServer("127.0.0.2")))
        resolver = f"127.0.0.1:{names.port}"
        front = stack.enter_context(running_gateway(tmp_path, f"orders.test:{port}", resolver=resolver))
        assert get(front, "/api/v1/orders")[1]["server"] == "127.0.0.2"
        names.address = "127.0.0.3"
        eventually(lambda: get(front, "/api/v1/orders")[1]["server"] == "127.0.0.3")
        assert get(front, "/api/v1/orders/1?a=b%20c")[1]["path"] == "/api/v1/orders/1?a=b%20c"


@pytest.mark.parametrize("limit", ["proxy_connect_timeout 3s;", "proxy_read_timeout 20s;", "proxy_send_timeout 20s;"])
def test_no_context_is_waited_for_longer_than_a_shop_takes(limit):
    assert limit in gateway.render_nginx({context: f"{context}:8000" for context in settings.ALL_CONTEXTS}, "8080")
