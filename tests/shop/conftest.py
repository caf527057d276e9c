"""Fixtures of the kernel's tests: letters (test events) and an interface of the tests' own."""

from contextlib import ExitStack

import pytest

from shop.calls import services
from shop.calls.remote import client
from shop.ids import uuid7
from shop.messaging import events
from tests.shop.calls.library import Library
from tests.shop.calls.servers import run_server
from tests.shop.messaging import letters


@pytest.fixture
def letter(settings):
    """The id of a letter. The events about letters are declared while the test runs."""
    settings.SUBSCRIPTIONS = settings.SUBSCRIPTIONS | {event.name: [] for event in letters.EVENTS}
    with letters.isolated_registries():
        events._declared.update({event.name: event for event in letters.EVENTS})
        yield uuid7()
    letters.delete_letters()


@pytest.fixture(params=["local", "loopback", "remote"])
def library(request, settings):
    """The bound name of the tests' interface, with each transport."""
    bound = services.service("library", Library)
    transport = "local" if request.param == "remote" else request.param
    services.configure({"library": "tests.shop.calls.library.LocalLibrary"}, transport)
    with ExitStack() as stack:
        if request.param == "remote":
            server = stack.enter_context(run_server(services.get_served_methods(("library",))))
            services.configure({"library": server.url}, transport)
        yield bound
    client._callees.clear()  # another server may use the same port soon
    services._services.pop("library")
    services._bindings.pop("library")
    services.configure(settings.SERVICES, settings.TRANSPORT)
