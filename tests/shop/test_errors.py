"""Domain errors: a class, a message and typed facts."""

import re
from typing import get_type_hints

import pytest

from shop import errors
from shop.errors import Closed, Conflict, DomainError, TooManyRequests, Unavailable, get_error_class


class SoldAlready(Conflict):
    """Only {available} of {sku} left.

    This line is documentation and not part of the message.
    """

    sku: str
    available: int = 0


def test_an_error_message_contains_its_facts():
    error = SoldAlready(sku="MUG-1", available=2)
    assert str(error) == "Only 2 of MUG-1 left."
    assert error.facts == {"sku": "MUG-1", "available": 2}
    assert repr(error) == "SoldAlready(sku='MUG-1', available=2)"
    assert error.title == "Sold already"


class WaitFor(Conflict):
    """{orders:order is|orders are} ahead; wait for {retry_after:second}."""

    orders: int
    retry_after: int


@pytest.mark.parametrize(
    ("orders", "seconds", "message"),
    [(1, 1, "1 order is ahead; wait for 1 second."), (2, 60, "2 orders are ahead; wait for 60 seconds.")],
)
def test_a_message_counts_in_the_singular_and_the_plural(orders, seconds, message):
    assert str(WaitFor(orders=orders, retry_after=seconds)) == message


def test_the_documented_message_has_the_names_of_the_facts():
    message = "<orders> orders are ahead; wait for <retry_after> seconds."
    assert WaitFor.describe_message("<{}>".format) == message
    assert SoldAlready.describe_message("<{}>".format) == "Only <available> of <sku> left."


def test_every_number_of_a_message_is_counted_by_its_format():
    """`{days} days` would be wrong for 1."""
    counted = re.compile(r"\{(\w+)\} (?:\w+ )?[a-z]+s\b")
    found = {cls.code: counted.findall(cls.get_message()) for cls in errors.list_error_classes()}
    wrong = [
        code
        for code, names in found.items()
        if {get_type_hints(get_error_class(code)).get(name) for name in names} & {int}
    ]
    assert wrong == []


def test_facts_are_keyword_arguments_and_may_have_defaults():
    assert SoldAlready(sku="A").available == 0
    with pytest.raises(TypeError):
        SoldAlready("A", 2)
    with pytest.raises(TypeError):
        SoldAlready()


def test_braces_in_a_fact_are_not_formatted():
    assert str(SoldAlready(sku="{available.__class__}", available=1)) == "Only 1 of {available.__class__} left."


def test_a_code_is_the_context_and_the_class_name():
    from contexts.inventory.interface import OutOfStock

    assert (OutOfStock.code, Closed.code, SoldAlready.code) == (
        "inventory.out_of_stock",
        "shop.closed",
        "shop.sold_already",
    )
    assert get_error_class("inventory.out_of_stock") is OutOfStock


def test_an_unknown_code_is_a_key_error():
    with pytest.raises(KeyError):
        get_error_class("unknown.code")


STATUSES = {
    "DomainError": 400,
    "Invalid": 400,
    "Unauthenticated": 401,
    "Forbidden": 403,
    "NotFound": 404,
    "Conflict": 409,
    "Unprocessable": 422,
    "TooManyRequests": 429,
    "Closed": 409,
    "Unavailable": 503,
}


@pytest.mark.parametrize(("name", "status"), STATUSES.items())
def test_each_error_class_has_its_status(name, status):
    assert getattr(errors, name).status == status


def test_a_subclass_inherits_facts_and_status():
    class Slower(TooManyRequests):
        """Wait {retry_after} s for {what}."""

        what: str

    assert (Slower.status, str(Slower(retry_after=3, what="tea"))) == (429, "Wait 3 s for tea.")


def test_errors_are_compared_by_identity():
    one = Unavailable(what="x")
    assert one != Unavailable(what="x")
    assert one in {one}
    assert isinstance(one, DomainError)


def test_an_error_can_be_raised_again_with_a_traceback():
    error = Unavailable(what="x")
    with pytest.raises(Unavailable):
        raise error
    assert error.__traceback__ is not None
