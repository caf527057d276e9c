"""What the kernel's tests share: the post office, and an interface of their own."""

import pytest

from shop import events, services
from shop.ids import uuid7
from tests.shop import post


@pytest.fixture
def letter(settings):
    """A letter's id; while the test runs, the facts about letters are declared."""
    settings.SUBSCRIPTIONS = settings.SUBSCRIPTIONS | {fact.name: [] for fact in post.FACTS}
    with post.registries():
        events._declared.update({fact.name: fact for fact in post.FACTS})
        yield uuid7()
    post.forget()


@pytest.fixture(params=["local", "loopback"])
def library(request, settings):
    """The bound name of the tests' interface, with each transport."""
    from tests.shop.library import Library

    bound = services.service("library", Library)
    services.configure({"library": "tests.shop.library.LocalLibrary"}, request.param)
    yield bound
    services._services.pop("library")
    services._bindings.pop("library")
    services.configure(settings.SERVICES, settings.TRANSPORT)
