"""Service interfaces: a call means the same with each transport."""

import threading
from datetime import timedelta
from typing import Protocol

import pytest
from django.db import transaction as django_transaction

from shop.calls import services
from shop.db.database import joinable_transaction, transaction
from shop.errors import Closed, InTransaction, NotFound
from shop.ids import uuid7
from tests.concurrency import run_concurrently, run_in_thread
from tests.shop.calls import library as shelf
from tests.shop.calls.library import Book, NotOnShelf, UnknownBook, book


@pytest.fixture(autouse=True)
def no_calls():
    shelf.calls.clear()


def test_a_result_arrives_unchanged(library):
    assert library.books(isbns=("1", "2")) == (book("1"), book("2"))


def test_ids_durations_and_money_arrive_with_their_types(library):
    loan = uuid7()
    lent = library.lend(loan_id=loan, isbn="1", lent_for=timedelta(days=3, microseconds=1))
    assert (lent.borrower, lent.lent_for) == (loan, timedelta(days=3, microseconds=1))
    assert isinstance(lent, Book)


def test_a_domain_error_arrives_as_the_same_class_with_typed_facts(library):
    loan = uuid7()
    with pytest.raises(NotOnShelf) as caught:
        library.lend(loan_id=loan, isbn="lent", lent_for=timedelta(hours=1))
    error = caught.value
    assert type(error) is NotOnShelf
    assert (error.borrower, error.lent_for, error.price.amount) == (loan, timedelta(hours=1), 5)
    assert str(error) == "lent is lent for 1:00:00 more."


def test_a_kernel_error_and_a_subclass_arrive_too(library):
    with pytest.raises(Closed):
        library.lend(loan_id=uuid7(), isbn="closed", lent_for=timedelta(0))
    with pytest.raises(NotFound) as caught:
        library.books(isbns=("missing",))
    assert type(caught.value) is UnknownBook


@pytest.mark.parametrize("library", ["local"], indirect=True)
def test_a_local_call_is_made_once(library):
    library.books(isbns=())
    assert shelf.calls == ["books"]


@pytest.mark.parametrize("library", ["loopback"], indirect=True)
def test_loopback_makes_each_repeatable_call_twice(library):
    library.books(isbns=())
    library.lend(loan_id=uuid7(), isbn="1", lent_for=timedelta(0))
    assert shelf.calls == ["books", "books", "lend", "lend"]


def test_a_call_that_may_not_be_repeated_is_made_once(library):
    library.shout(word="Fire!")
    assert shelf.calls == ["Fire!"]


@pytest.mark.parametrize("library", ["loopback"], indirect=True)
def test_loopback_records_idempotent_calls_for_the_end_of_the_test(library):
    library.books(isbns=())
    library.lend(loan_id=uuid7(), isbn="1", lent_for=timedelta(0))
    assert len(services.idempotent_calls) == 1


@pytest.mark.parametrize("library", ["loopback"], indirect=True)
def test_the_wire_refuses_values_that_violate_the_type_hints(library):
    with pytest.raises(Exception, match="Expected `str`"):
        library.books(isbns=(5,))


OPEN = {
    "a use case's": lambda: transaction("orders"),
    "the kernel's": lambda: joinable_transaction("inventory"),
    "Django's": lambda: django_transaction.atomic(using="payments"),
}


@pytest.mark.parametrize("begin", OPEN.values(), ids=OPEN)
def test_every_call_is_refused_while_a_transaction_is_open(library, begin):
    with begin():
        for call in (
            lambda: library.books(isbns=()),
            lambda: library.lend(loan_id=uuid7(), isbn="1", lent_for=timedelta(0)),
            lambda: library.shout(word="Fire!"),
        ):
            with pytest.raises(InTransaction):
                call()
    assert shelf.calls == []
    library.shout(word="after the commit")


def test_a_thread_with_a_transaction_is_refused_and_another_is_not(library):
    begun, answered = threading.Event(), threading.Event()

    def call_inside_a_transaction():
        with transaction("orders"):
            begun.set()
            answered.wait(5)
            with pytest.raises(InTransaction) as caught:
                library.books(isbns=())
            return caught.type

    def call_meanwhile():
        begun.wait(5)
        try:
            return library.books(isbns=())
        finally:
            answered.set()

    refused, result = run_concurrently(call_inside_a_transaction, call_meanwhile)
    assert refused is InTransaction
    assert result == ()


def test_a_transaction_does_not_affect_calls_of_another_thread(library):
    with transaction("orders"):
        assert run_in_thread(lambda: library.books(isbns=())) == ()


def test_binding_fails_for_a_class_that_inherits_a_method_of_the_protocol(library):
    services.configure({"library": "tests.shop.calls.library.UnfinishedLibrary"}, "local")
    with pytest.raises(TypeError, match=r"does not define library\.lend, library\.shout itself"):
        library.books(isbns=())


def test_bind_all_finds_an_incomplete_implementation_before_its_first_call(library):
    services.configure({"library": "tests.shop.calls.library.UnfinishedLibrary"}, "local")
    with pytest.raises(TypeError, match="UnfinishedLibrary"):
        services.bind_all()


def test_an_unknown_method_is_an_attribute_error(library):
    assert not hasattr(library, "burn")


def test_an_unknown_transport_is_refused(settings):
    with pytest.raises(ValueError, match="TRANSPORT is 'pigeon'; it can be local or loopback"):
        services.configure(settings.SERVICES, "pigeon")


def test_a_method_without_a_repeat_policy_is_not_part_of_the_interface():
    class Careless(Protocol):
        def unmarked(self) -> None: ...

    bound = services.service("careless", Careless)
    services._services.pop("careless")
    assert bound._methods == []
