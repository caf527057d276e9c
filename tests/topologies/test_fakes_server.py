"""The parts of a run in five processes: fakes that the test process serves, and recorded calls."""

import urllib.error
from datetime import timedelta

import pytest

from contexts.payments import providers
from contexts.payments.providers import ProviderResponse
from contexts.payments.providers.sandbox import Sandbox
from shop.calls import services
from shop.calls.remote import client
from shop.db.database import transaction
from shop.errors import InTransaction, Unavailable
from shop.ids import uuid7
from shop.money import Money
from tests.ports import reserve_port
from tests.shop.calls import library as shelf
from tests.shop.calls.library import Library
from tests.shop.calls.servers import run_server
from tests.topologies import recorded_calls
from tests.topologies.fakes_server import FakesServer, ProviderRegistry

EUR_1 = Money(100, "EUR")


class UnreliableSandbox(Sandbox):
    """A provider that responds to `confirm` with a decline, and to nothing else."""

    def confirm(self, **arguments):
        return ProviderResponse("declined", f"{arguments['amount'].amount} for {arguments['token']}")

    def capture(self, **_):
        raise Unavailable(what="The provider")


@pytest.fixture
def provider_name(monkeypatch):
    """Serve a fake provider of this process, and call it as one of the five processes would."""
    server = FakesServer("the key")
    monkeypatch.setenv("TESTS_URL", server.url)
    monkeypatch.setenv("TESTS_KEY", "the key")
    name = f"test-{uuid7()}"
    providers.registry[name] = UnreliableSandbox()
    yield name
    del providers.registry[name]
    server.close()


def test_a_fake_provider_answers_other_processes_as_it_does_here(provider_name):
    provider = ProviderRegistry().get(provider_name)
    assert provider.confirm(reference="r", amount=EUR_1, token="t") == ProviderResponse("declined", "100 for t")
    payment_id = uuid7()
    assert provider.reference(payment_id) == Sandbox().reference(payment_id)
    with pytest.raises(Unavailable):
        provider.capture(reference="r", amount=EUR_1, key="k")


def test_a_fake_provider_cannot_be_called_inside_a_transaction(provider_name):
    provider = ProviderRegistry().get(provider_name)
    with pytest.raises(InTransaction), transaction("payments"):
        provider.confirm(reference="r", amount=EUR_1, token="t")


def test_an_unknown_provider_is_none(provider_name):
    assert ProviderRegistry().get("test-unknown") is None
    assert ProviderRegistry(sandbox="ours").get("sandbox") == "ours"


def test_a_request_without_the_key_is_refused(provider_name, monkeypatch):
    monkeypatch.setenv("TESTS_KEY", "another")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        ProviderRegistry().get(provider_name)


@pytest.fixture
def call_process():
    """Return a function that calls a process and records the call as one of the five would."""
    shelf.calls.clear()
    name = services.service("library", Library)
    services.configure({"library": "tests.shop.calls.library.LocalLibrary"}, "local")
    method = next(one for one in name._methods if one.name == "library.lend")

    def call(url, isbn="1"):
        recorded_calls._connect_recording(frozenset([url]), method, url)(
            loan_id=uuid7(), isbn=isbn, lent_for=timedelta(days=1)
        )

    yield call
    services.idempotent_calls.clear()  # the servers have stopped
    client._callees.clear()
    services._services.pop("library")
    services._bindings.pop("library")


def test_a_recorded_call_is_repeated_whatever_its_response(call_process):
    with run_server(services.get_served_methods(("library",))) as server:
        call_process(server.url)
        with pytest.raises(shelf.NotOnShelf):
            call_process(server.url, "lent")
        for again in services.idempotent_calls:
            again()
    assert shelf.calls == ["lend"] * 4


def test_control_a_repetition_without_a_response_fails(call_process):
    with pytest.raises(Unavailable):
        call_process(f"http://127.0.0.1:{reserve_port()}")
    with pytest.raises(Unavailable):
        services.idempotent_calls[0]()
