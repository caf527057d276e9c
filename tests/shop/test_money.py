"""Money: an integer of minor units and a currency."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shop.money import Money, sum_amounts

amounts = st.integers(-(10**12), 10**12)


def test_money_adds_and_multiplies():
    assert Money(1999, "EUR") + Money(1, "EUR") == Money(2000, "EUR")
    assert Money(1999, "EUR") * 3 == Money(5997, "EUR")


def test_amounts_of_different_currencies_cannot_be_added():
    with pytest.raises(ValueError, match="EUR and USD cannot be added"):
        Money(1, "EUR") + Money(1, "USD")
    with pytest.raises(ValueError, match="cannot be added"):
        sum_amounts([Money(0, "USD")], "EUR")


@given(st.lists(amounts))
def test_a_total_equals_the_sum_of_its_parts(given_amounts):
    assert sum_amounts([Money(one, "EUR") for one in given_amounts], "EUR") == Money(sum(given_amounts), "EUR")


@pytest.mark.parametrize(
    ("money", "text"),
    [
        (Money(1999, "EUR"), "19.99 EUR"),
        (Money(5, "EUR"), "0.05 EUR"),
        (Money(-5, "EUR"), "-0.05 EUR"),
        (Money(123456789, "USD"), "1,234,567.89 USD"),
        (Money(500, "JPY"), "500 JPY"),
        (Money(1234, "KWD"), "1.234 KWD"),
    ],
)
def test_money_is_formatted_with_the_digits_of_its_currency(money, text):
    assert str(money) == text


@given(amounts)
def test_money_crosses_the_wire(amount):
    money = Money(amount, "EUR")
    assert msgspec.json.decode(msgspec.json.encode(money), type=Money) == money


@pytest.mark.parametrize(
    "wire",
    [
        '{"amount":1.5,"currency":"EUR"}',
        '{"amount":"1","currency":"EUR"}',
        '{"amount":1,"currency":"eur"}',
        '{"amount":1,"currency":"EURO"}',
        '{"amount":1}',
    ],
)
def test_malformed_money_is_refused(wire):
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(wire, type=Money)


def test_money_cannot_be_changed():
    with pytest.raises(AttributeError):
        Money(1, "EUR").amount = 2
