"""Domain errors: a class, a sentence and its facts."""

import pytest

from shop import errors
from shop.errors import Closed, Conflict, DomainError, TooManyRequests, Unavailable, error_class


class SoldAlready(Conflict):
    """Only {available} of {sku} left.

    More for the reader of the code.
    """

    sku: str
    available: int = 0


def test_an_error_says_its_sentence_with_its_facts():
    error = SoldAlready(sku="MUG-1", available=2)
    assert str(error) == "Only 2 of MUG-1 left."
    assert error.facts == {"sku": "MUG-1", "available": 2}
    assert repr(error) == "SoldAlready(sku='MUG-1', available=2)"
    assert error.title == "Sold already"


def test_facts_are_given_by_name_and_may_have_defaults():
    assert SoldAlready(sku="A").available == 0
    with pytest.raises(TypeError):
        SoldAlready("A", 2)
    with pytest.raises(TypeError):
        SoldAlready()


def test_a_fact_with_braces_stays_as_it_is():
    assert str(SoldAlready(sku="{available.__class__}", available=1)) == "Only 1 of {available.__class__} left."


def test_a_code_is_the_context_and_the_class_name():
    from contexts.inventory.interface import OutOfStock

    assert (OutOfStock.code, Closed.code, SoldAlready.code) == ("inventory.out_of_stock", "shop.closed", "shop.sold_already")
    assert error_class("inventory.out_of_stock") is OutOfStock


def test_an_unknown_code_is_a_key_error():
    with pytest.raises(KeyError):
        error_class("nobody.knows")


STATUSES = {
    "DomainError": 400, "Invalid": 400, "Unauthenticated": 401, "Forbidden": 403, "NotFound": 404, "Conflict": 409,
    "Unprocessable": 422, "TooManyRequests": 429, "Closed": 409, "Unavailable": 503,
}  # fmt: skip


@pytest.mark.parametrize(("name", "status"), STATUSES.items())
def test_each_kind_has_its_status(name, status):
    assert getattr(errors, name).status == status


def test_a_subclass_inherits_facts_and_status():
    class Slower(TooManyRequests):
        """Wait {retry_after} s for {what}."""

        what: str

    assert (Slower.status, str(Slower(retry_after=3, what="tea"))) == (429, "Wait 3 s for tea.")


def test_two_errors_are_equal_only_where_they_are_one():
    one = Unavailable(what="x")
    assert one != Unavailable(what="x")
    assert one in {one}
    assert isinstance(one, DomainError)


def test_an_error_can_be_raised_again_with_a_traceback():
    error = Unavailable(what="x")
    with pytest.raises(Unavailable):
        raise error
    assert error.__traceback__ is not None
