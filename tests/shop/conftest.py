"""What the kernel's tests share: the post office, and an interface of their own."""

from contextlib import ExitStack

import pytest

from shop import events, remote, services
from shop.ids import uuid7
from tests.shop import post
from tests.shop.library import Library
from tests.shop.wire import answering


@pytest.fixture
def letter(settings):
    """A letter's id; while the test runs, the facts about letters are declared."""
    settings.SUBSCRIPTIONS = settings.SUBSCRIPTIONS | {fact.name: [] for fact in post.FACTS}
    with post.registries():
        events._declared.update({fact.name: fact for fact in post.FACTS})
        yield uuid7()
    post.forget()


@pytest.fixture(params=["local", "loopback", "remote"])
def library(request, settings):
    """The bound name of the tests' interface, with each transport."""
    bound = services.service("library", Library)
    transport = "local" if request.param == "remote" else request.param
    services.configure({"library": "tests.shop.library.LocalLibrary"}, transport)
    with ExitStack() as stack:
        if request.param == "remote":
            server = stack.enter_context(answering(services.served(("library",))))
            services.configure({"library": server.url}, transport)
        yield bound
    remote._callees.clear()  # a port is soon somebody else's
    services._services.pop("library")
    services._bindings.pop("library")
    services.configure(settings.SERVICES, settings.TRANSPORT)
