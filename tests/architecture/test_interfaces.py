"""Public interfaces are complete, documented and plain data, and survive a round trip through the wire format."""

import inspect
import typing
from datetime import date
from importlib import import_module
from typing import Protocol

import msgspec
import pytest
from django.conf import settings
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st

from shop import errors
from shop.calls import services
from shop.calls.methods import Method
from shop.calls.services import DTO, read
from shop.errors import DomainError
from shop.messaging import events
from tests.architecture.strategies import examples, fields

CONTEXTS = settings.ALL_CONTEXTS
few_examples = effort(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), database=None)


def interface_module(context):
    return import_module(f"contexts.{context}.interface")


def protocol(context):
    return getattr(interface_module(context), context.capitalize())


def classes(module, kind):
    return [cls for cls in vars(module).values() if inspect.isclass(cls) and issubclass(cls, kind) and cls is not kind]


DTOS = [cls for context in CONTEXTS for cls in classes(interface_module(context), DTO)]
ERRORS = [cls for code, cls in sorted(errors._by_code.items()) if not cls.__module__.startswith("tests.")]
EVENTS = [cls for _, cls in sorted(events.get_declared_events().items())]
METHODS = [method for context in CONTEXTS for method in services.get_interfaces()[context]]


def name_of(one):
    return getattr(one, "name", "") or one.__qualname__


def test_the_collected_lists_are_not_empty():
    assert min(map(len, (DTOS, ERRORS, EVENTS, METHODS))) > 5


@pytest.mark.parametrize("cls", DTOS, ids=name_of)
def test_every_dto_survives_a_round_trip(cls):
    @few_examples
    @given(examples(cls))
    def through(dto):
        assert msgspec.json.decode(msgspec.json.encode(dto), type=cls) == dto

    through()


@pytest.mark.parametrize("cls", ERRORS, ids=lambda cls: cls.code)
def test_every_error_survives_a_round_trip_with_its_message(cls):
    def fail() -> None:
        raise error

    fail.__retry_policy__ = "read"
    wire = Method("test", fail)

    @few_examples
    @given(st.fixed_dictionaries({name: examples(hint) for name, hint in fields(cls).items()}))
    def through(facts):
        nonlocal error
        error = cls(**facts)
        with pytest.raises(cls) as caught:
            wire.receive(wire.serve(fail, b"{}"))
        assert (type(caught.value), caught.value.facts, str(caught.value)) == (cls, facts, str(error))

    error = None
    through()


@pytest.mark.parametrize("cls", EVENTS, ids=name_of)
def test_every_event_survives_outbox_and_inbox(cls):
    @few_examples
    @given(examples(cls))
    def through(event):
        facts = msgspec.to_builtins(event)
        stored = msgspec.json.decode(msgspec.json.encode(facts))
        assert msgspec.convert(stored, type=cls, strict=False) == event
        assert cls.stream.format_map(facts).startswith(f"{cls.context()}.")

    through()


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_every_request_and_response_survives_a_round_trip(method):
    @few_examples
    @given(examples(method.arguments_decoder.type), examples(method.result_decoder.type))
    def through(question, answer):
        assert method.arguments_decoder.decode(msgspec.json.encode(question)) == question
        assert method.result_decoder.decode(msgspec.json.encode(answer)) == answer

    through()


def test_a_type_that_is_not_plain_is_found():
    class DtoWithDate(DTO):
        day: date

    with pytest.raises(TypeError, match="no plain type"):
        examples(DtoWithDate)


def test_no_two_errors_have_one_code():
    found = {}

    def walk(cls):
        for sub in cls.__subclasses__():
            if not sub.__module__.startswith("tests."):
                found.setdefault(sub.code, set()).add(f"{sub.__module__}.{sub.__qualname__}")
            walk(sub)

    walk(DomainError)
    assert {code: classes for code, classes in found.items() if len(classes) > 1} == {}


def test_every_binding_is_complete():
    services.bind_all()
    assert set(services.get_interfaces()) >= set(settings.SERVICES) == set(CONTEXTS)


def find_undeclared_methods(interface):
    """Return the methods of an interface that lack a retry marker, a type or a docstring, or take positional arguments."""
    found = []
    for name, function in vars(interface).items():
        if name.startswith("_") or not inspect.isfunction(function):
            continue
        parameters = list(inspect.signature(function).parameters.values())[1:]
        hints = typing.get_type_hints(function)
        if getattr(function, "__retry_policy__", "") not in ("read", "idempotent", "once"):
            found.append(f"{name} does not declare whether it may be retried")
        if any(one.kind is not inspect.Parameter.KEYWORD_ONLY for one in parameters):
            found.append(f"{name} takes an argument by position")
        if set(hints) != {"return", *(one.name for one in parameters)}:
            found.append(f"{name} is not typed")
        if not function.__doc__:
            found.append(f"{name} is not documented")
    return found


@pytest.mark.parametrize("context", CONTEXTS)
def test_every_method_declares_whether_it_may_be_retried(context):
    assert find_undeclared_methods(protocol(context)) == []


def test_an_undeclared_method_is_found():
    class Undeclared(Protocol):
        def unmarked(self, *, key: str) -> None:
            """Declare no retry behaviour."""

        @read
        def positional(self, key: str) -> None:
            """Take a positional argument."""

        @read
        def untyped(self, *, key) -> None:
            """Take an argument without a type."""

        @read
        def undocumented(self, *, key: str) -> None: ...

    assert find_undeclared_methods(Undeclared) == [
        "unmarked does not declare whether it may be retried", "positional takes an argument by position",
        "untyped is not typed", "undocumented is not documented",
    ]  # fmt: skip


def find_mutability(dto):
    """Return the methods of a DTO, and whether it is mutable."""
    methods = [name for name, one in vars(dto).items() if inspect.isfunction(one) and not name.startswith("__")]
    return methods + ([] if dto.__struct_config__.frozen else ["not frozen"])


@pytest.mark.parametrize("cls", DTOS, ids=name_of)
def test_every_dto_is_frozen_and_without_methods(cls):
    assert find_mutability(cls) == []


def test_a_dto_with_a_method_is_found():
    class DtoWithMethod(DTO):
        key: str

        def total(self) -> int:
            return 1

    assert find_mutability(DtoWithMethod) == ["total"]


def find_events_declared_elsewhere(declared):
    """Return the events whose name or stream belongs to another context than their module."""
    return [
        name for name, cls in declared.items()
        if not cls.__module__.startswith("tests.")
        and {cls.__module__.split(".")[1]} != {name.split(".")[0], cls.stream.split(".")[0]}
    ]  # fmt: skip


def test_every_event_belongs_to_the_context_that_declares_it():
    assert find_events_declared_elsewhere(events.get_declared_events()) == []


def test_an_event_named_after_another_context_is_found():
    class Planted:
        __module__, stream = "contexts.orders.events", "users.user:{x}"

    assert find_events_declared_elsewhere({"orders.planted": Planted}) == ["orders.planted"]
