"""Public faces: complete, marked, plain, and the same on both sides of the wire."""

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

from shop import errors, events, services
from shop.errors import DomainError
from shop.services import DTO, Method, read
from tests.architecture.wire import examples, fields

CONTEXTS = settings.ALL_CONTEXTS
few = effort(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), database=None)


def face(context):
    return import_module(f"contexts.{context}.interface")


def protocol(context):
    return getattr(face(context), context.capitalize())


def classes(module, kind):
    return [cls for cls in vars(module).values() if inspect.isclass(cls) and issubclass(cls, kind) and cls is not kind]


DTOS = [cls for context in CONTEXTS for cls in classes(face(context), DTO)]
ERRORS = [cls for code, cls in sorted(errors._by_code.items()) if not cls.__module__.startswith("tests.")]
EVENTS = [cls for _, cls in sorted(events.declared().items())]
METHODS = [method for context in CONTEXTS for method in services.interfaces()[context]]


def named(one):
    return getattr(one, "name", "") or one.__qualname__


def test_there_is_something_to_look_at():
    assert min(map(len, (DTOS, ERRORS, EVENTS, METHODS))) > 5


@pytest.mark.parametrize("cls", DTOS, ids=named)
def test_every_dto_goes_through_the_wire_and_back(cls):
    @few
    @given(examples(cls))
    def through(dto):
        assert msgspec.json.decode(msgspec.json.encode(dto), type=cls) == dto

    through()


@pytest.mark.parametrize("cls", ERRORS, ids=lambda cls: cls.code)
def test_every_error_goes_through_the_wire_and_back_with_its_sentence(cls):
    def fail() -> None:
        raise error

    fail.__repeat__ = "read"
    wire = Method("test", fail)

    @few
    @given(st.fixed_dictionaries({name: examples(hint) for name, hint in fields(cls).items()}))
    def through(facts):
        nonlocal error
        error = cls(**facts)
        with pytest.raises(cls) as caught:
            wire.receive(wire.serve(fail, b"{}"))
        assert (type(caught.value), caught.value.facts, str(caught.value)) == (cls, facts, str(error))

    error = None
    through()


@pytest.mark.parametrize("cls", EVENTS, ids=named)
def test_every_event_goes_through_outbox_and_inbox(cls):
    @few
    @given(examples(cls))
    def through(event):
        facts = msgspec.to_builtins(event)
        stored = msgspec.json.decode(msgspec.json.encode(facts))
        assert msgspec.convert(stored, type=cls, strict=False) == event
        assert cls.stream.format_map(facts).startswith(f"{cls.context()}.")

    through()


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_every_question_and_answer_goes_through_the_wire_and_back(method):
    @few
    @given(examples(method.arguments.type), examples(method.answer.type))
    def through(question, answer):
        assert method.arguments.decode(msgspec.json.encode(question)) == question
        assert method.answer.decode(msgspec.json.encode(answer)) == answer

    through()


def test_a_type_that_is_not_plain_is_found():
    class Odd(DTO):
        day: date

    with pytest.raises(TypeError, match="no plain type"):
        examples(Odd)


def test_no_two_errors_have_one_code():
    found = {}

    def walk(cls):
        for sub in cls.__subclasses__():
            if not sub.__module__.startswith("tests."):
                found.setdefault(sub.code, set()).add(f"{sub.__module__}.{sub.__qualname__}")
            walk(sub)

    walk(DomainError)
    assert {code: who for code, who in found.items() if len(who) > 1} == {}


def test_every_binding_is_complete():
    services.bind_all()
    assert set(services.interfaces()) >= set(settings.SERVICES) == set(CONTEXTS)


def careless(interface):
    """Methods of an interface that are not marked, documented, typed, or take arguments by position."""
    found = []
    for name, function in vars(interface).items():
        if name.startswith("_") or not inspect.isfunction(function):
            continue
        parameters = list(inspect.signature(function).parameters.values())[1:]
        hints = typing.get_type_hints(function)
        if getattr(function, "__repeat__", "") not in ("read", "idempotent", "once"):
            found.append(f"{name} does not say what a repeat does")
        if any(one.kind is not inspect.Parameter.KEYWORD_ONLY for one in parameters):
            found.append(f"{name} takes an argument by position")
        if set(hints) != {"return", *(one.name for one in parameters)}:
            found.append(f"{name} is not typed")
        if not function.__doc__:
            found.append(f"{name} is not documented")
    return found


@pytest.mark.parametrize("context", CONTEXTS)
def test_every_method_says_what_a_repeat_does(context):
    assert careless(protocol(context)) == []


def test_a_careless_method_is_found():
    class Careless(Protocol):
        def unmarked(self, *, key: str) -> None:
            """Say nothing of repeats."""

        @read
        def positional(self, key: str) -> None:
            """Take the key by position."""

        @read
        def untyped(self, *, key) -> None:
            """Leave the key's type open."""

        @read
        def silent(self, *, key: str) -> None: ...

    assert careless(Careless) == [
        "unmarked does not say what a repeat does", "positional takes an argument by position",
        "untyped is not typed", "silent is not documented",
    ]  # fmt: skip


def lively(dto):
    """What makes a DTO more than data."""
    methods = [name for name, one in vars(dto).items() if inspect.isfunction(one) and not name.startswith("__")]
    return methods + ([] if dto.__struct_config__.frozen else ["not frozen"])


@pytest.mark.parametrize("cls", DTOS, ids=named)
def test_every_dto_is_frozen_and_without_methods(cls):
    assert lively(cls) == []


def test_a_lively_dto_is_found():
    class Lively(DTO):
        key: str

        def total(self) -> int:
            return 1

    assert lively(Lively) == ["total"]


def announced_elsewhere(declared):
    """Events that are not named and streamed by the context whose package declares them."""
    return [
        name for name, cls in declared.items()
        if not cls.__module__.startswith("tests.")
        and {cls.__module__.split(".")[1]} != {name.split(".")[0], cls.stream.split(".")[0]}
    ]  # fmt: skip


def test_every_event_belongs_to_the_context_that_declares_it():
    assert announced_elsewhere(events.declared()) == []


def test_an_event_in_anothers_name_is_found():
    class Planted:
        __module__, stream = "contexts.orders.events", "users.user:{x}"

    assert announced_elsewhere({"orders.planted": Planted}) == ["orders.planted"]
