"""Calls to an https:// address: only to a server with a valid certificate, by a recent TLS, and never redirected."""

import ssl

import pytest

from shop.calls import services
from shop.calls.remote import client
from shop.calls.remote.wire import build_path
from shop.errors import Unavailable
from tests.certificates import build_server_context, write_certificate
from tests.shop.calls import library as shelf
from tests.shop.calls.servers import UnresponsiveServer, run_server


@pytest.fixture
def certificate(tmp_path):
    return write_certificate(tmp_path)


@pytest.fixture
def tls_server(bind_library, certificate):
    """Serve the tests' interface over TLS."""
    bind_library("tests.shop.calls.library.LocalLibrary")
    with run_server(services.get_served_methods(("library",))) as server:
        server.socket = build_server_context(certificate).wrap_socket(server.socket, server_side=True)
        server.url = server.url.replace("http://", "https://")
        yield server


def test_a_server_with_a_certificate_that_is_not_trusted_is_not_called(tls_server, bind_library):
    library = bind_library(tls_server.url)
    with pytest.raises(Unavailable):
        library.shout(word="secret")
    assert shelf.calls == []


def test_control_a_server_with_a_trusted_certificate_is_called(tls_server, bind_library, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    bind_library(tls_server.url).shout(word="hello")
    assert shelf.calls == ["hello"]


def test_the_certificate_of_another_host_is_not_accepted(tls_server, bind_library, tmp_path, monkeypatch):
    other = write_certificate(tmp_path, "127.0.0.2")
    tls_server.socket.context.load_cert_chain(other)
    monkeypatch.setenv("SSL_CERT_FILE", str(other))
    with pytest.raises(Unavailable):
        bind_library(tls_server.url).shout(word="secret")
    assert shelf.calls == []


def test_a_connection_uses_tls_1_2_or_later():
    callee = client.Callee("https://127.0.0.1")
    context = callee.connection_class(callee.host)._context
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_a_redirect_is_not_followed(bind_library):
    target = UnresponsiveServer()
    answer = f"HTTP/1.1 307 Temporary Redirect\r\nLocation: {target.url}{build_path('library.shout')}\r\n"
    source = UnresponsiveServer(lambda connection: connection.sendall(f"{answer}Content-Length: 0\r\n\r\n".encode()))
    try:
        with pytest.raises(Unavailable):
            bind_library(source.url).shout(word="hello")
        assert (len(source.requests), target.requests) == (1, [])
    finally:
        source.close()
        target.close()
