"""What the five processes of a suite stand on: fakes that answer from the test process, and calls that are noted."""

import urllib.error
from datetime import timedelta

import pytest

from contexts.payments import providers
from contexts.payments.providers import Answer
from contexts.payments.providers.sandbox import Sandbox
from shop import remote, services
from shop.database import transaction
from shop.errors import InTransaction, Unavailable
from shop.ids import uuid7
from shop.money import Money
from tests.config.trees import free_port
from tests.shop import library as shelf
from tests.shop.library import Library
from tests.shop.wire import answering
from tests.topologies import calls
from tests.topologies.outside import Outside, Providers

EUR_1 = Money(100, "EUR")


class Moody(Sandbox):
    """Confirms, and does not answer otherwise."""

    def confirm(self, **arguments):
        return Answer("declined", f"{arguments['amount'].amount} for {arguments['token']}")

    def capture(self, **_):
        raise Unavailable(what="The provider")


@pytest.fixture
def name(monkeypatch):
    """A provider that this process has made up, and answers for as others would ask it."""
    outside = Outside("the key")
    monkeypatch.setenv("TESTS_URL", outside.url)
    monkeypatch.setenv("TESTS_KEY", "the key")
    name = f"test-{uuid7()}"
    providers.registered[name] = Moody()
    yield name
    del providers.registered[name]
    outside.close()


def test_a_provider_of_the_test_answers_in_another_process_as_it_would_here(name):
    there = Providers().get(name)
    assert there.confirm(reference="r", amount=EUR_1, token="t") == Answer("declined", "100 for t")
    payment_id = uuid7()
    assert there.reference(payment_id) == Sandbox().reference(payment_id)
    with pytest.raises(Unavailable):
        there.capture(reference="r", amount=EUR_1, key="k")


def test_it_is_not_asked_inside_a_transaction(name):
    there = Providers().get(name)
    with pytest.raises(InTransaction), transaction("payments"):
        there.confirm(reference="r", amount=EUR_1, token="t")


def test_a_provider_that_is_not_there_is_none(name):
    assert Providers().get("test-nobody") is None
    assert Providers(sandbox="ours").get("sandbox") == "ours"


def test_who_does_not_know_the_key_is_not_answered(name, monkeypatch):
    monkeypatch.setenv("TESTS_KEY", "another")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        Providers().get(name)


@pytest.fixture
def lend():
    """`lend(url)`: a call to a process there, noted as one of the five's would be."""
    shelf.calls.clear()
    name = services.service("library", Library)
    services.configure({"library": "tests.shop.library.LocalLibrary"}, "local")
    method = next(one for one in name._methods if one.name == "library.lend")

    def to(url, isbn="1"):
        calls._reach(frozenset([url]), method, url)(loan_id=uuid7(), isbn=isbn, lent_for=timedelta(days=1))

    yield to
    services.journal.clear()  # nobody is there any more
    remote._callees.clear()
    services._services.pop("library")
    services._bindings.pop("library")


def test_a_call_to_another_process_is_made_once_more_whatever_it_answers(lend):
    with answering(services.served(("library",))) as server:
        lend(server.url)
        with pytest.raises(shelf.NotOnShelf):
            lend(server.url, "lent")
        for again in services.journal:
            again()
    assert shelf.calls == ["lend"] * 4


def test_control_a_repetition_without_an_answer_is_noticed(lend):
    with pytest.raises(Unavailable):
        lend(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(Unavailable):
        services.journal[0]()
