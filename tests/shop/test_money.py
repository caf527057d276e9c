"""Money: an integer of minor units and a currency."""

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shop.money import Money, convert_money, get_minor_digits, is_currency, parse_money, sum_amounts, to_decimal

# ISO 4217, List One: the currencies that do not have two decimals.
DECIMALS = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
CURRENCIES = st.sampled_from(["EUR", *" ".join(DECIMALS.values()).split()])

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
        (Money(98000, "VND"), "98,000 VND"),
        (Money(98000, "OMR"), "98.000 OMR"),
        (Money(98000, "IDR"), "980.00 IDR"),
    ],
)
def test_money_is_formatted_with_the_digits_of_its_currency(money, text):
    assert str(money) == text


def test_every_currency_has_the_decimals_of_iso_4217():
    listed = {code: digits for digits, codes in DECIMALS.items() for code in codes.split()}
    assert {code: get_minor_digits(code) for code in listed} == listed
    assert {get_minor_digits(code) for code in ("EUR", "USD", "HUF", "IDR", "COP", "MGA", "TWD", "BGN")} == {2}
    assert [code for code in (*listed, "EUR", "USD") if not is_currency(code)] == []
    assert [code for code in ("euro", "eur", "ABC", "XXX", "XAU", "XTS", "DEM", "", "EUR ") if is_currency(code)] == []


@given(amounts, CURRENCIES)
def test_money_is_read_as_it_is_written(amount, currency):
    money = Money(amount, currency)
    assert parse_money(str(to_decimal(money)), currency) == money


@pytest.mark.parametrize(
    ("text", "currency", "amount"),
    [("98.00", "EUR", 9800), (" 98 ", "EUR", 9800), ("98.5", "EUR", 9850), ("98", "JPY", 98), ("98.000", "KWD", 98000)],
)
def test_decimals_are_those_of_the_currency(text, currency, amount):
    assert parse_money(text, currency) == Money(amount, currency)


@pytest.mark.parametrize(
    ("text", "currency", "problem"),
    [
        ("98.001", "EUR", "An amount in EUR has at most 2 decimals. Enter it as in 98.00."),
        ("98.00", "JPY", "An amount in JPY has no decimals. Enter it as in 98."),
        ("98.0000", "KWD", "An amount in KWD has at most 3 decimals. Enter it as in 98.000."),
        ("98,00", "EUR", "Enter an amount in EUR as in 98.00, without a currency sign or other separators."),
        ("1e3", "EUR", "Enter an amount in EUR as in 98.00"),
        ("NaN", "EUR", "Enter an amount in EUR as in 98.00"),
        ("9" * 21, "EUR", "Enter an amount in EUR as in 98.00"),
    ],
)
def test_an_amount_that_is_not_money_is_refused_in_plain_words(text, currency, problem):
    with pytest.raises(ValueError, match=problem):
        parse_money(text, currency)


@pytest.mark.parametrize(
    ("money", "currency", "rate", "converted"),
    [
        (Money(1999, "EUR"), "USD", "1.08", Money(2159, "USD")),
        (Money(1999, "EUR"), "JPY", "1", Money(20, "JPY")),
        (Money(1999, "EUR"), "JPY", "160", Money(3198, "JPY")),
        (Money(1999, "EUR"), "KWD", "1", Money(19990, "KWD")),
        (Money(3, "EUR"), "JPY", "1", Money(1, "JPY")),
        (Money(0, "EUR"), "JPY", "160", Money(0, "JPY")),
    ],
)
def test_a_conversion_respects_the_decimals_of_both_currencies(money, currency, rate, converted):
    assert convert_money(money, currency, Decimal(rate)) == converted


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
