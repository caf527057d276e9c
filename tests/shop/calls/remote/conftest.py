"""The tests' interface, served and called over HTTP."""

import pytest
from django.conf import settings as configured

from shop.calls import services
from shop.calls.remote import client
from tests.shop.calls import library as shelf
from tests.shop.calls.library import Library
from tests.shop.calls.servers import UnresponsiveServer, run_server


@pytest.fixture(autouse=True)
def no_calls():
    shelf.calls.clear()


@pytest.fixture
def bind_library():
    """A function that binds the tests' interface to an address and returns the bound name."""
    bound = services.service("library", Library)

    def bind(address):
        services.configure({"library": address}, "local")
        return bound

    yield bind
    client._callees.clear()  # another server may use the same port soon
    services._services.pop("library")
    services._bindings.pop("library")
    services.configure(configured.SERVICES, configured.TRANSPORT)


@pytest.fixture
def server(bind_library):
    """A server that hosts the tests' interface."""
    bind_library("tests.shop.calls.library.LocalLibrary")
    with run_server(services.get_served_methods(("library",))) as server:
        yield server


@pytest.fixture
def unresponsive_server():
    """A server that reads requests and closes the connection without an answer."""
    server = UnresponsiveServer()
    yield server
    server.close()
