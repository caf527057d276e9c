"""Money: an integer of minor units and an ISO 4217 currency code. Never a float.

How many decimals an amount has depends on its currency: 1999 is 19.99 EUR, 1,999 JPY and 1.999 KWD. The list of ISO 4217
(`get_minor_digits`) is the only source for it.
"""

import re
from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from typing import Annotated

import msgspec

MAX_AMOUNT = 10**12  # minor units: far above any order, far below the limit of a bigint
DEFAULT_MINOR_DIGITS = 2  # of a code that ISO 4217 has withdrawn, in old data


class Money(msgspec.Struct, frozen=True):
    """An amount in minor units of one currency. ISO 4217 gives its decimals: 1999 is 19.99 EUR, 1,999 JPY, 1.999 KWD."""

    amount: int
    currency: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}$(?!\n)")]

    def __add__(self, other: "Money") -> "Money":
        if self.currency != other.currency:
            raise ValueError(f"{self.currency} and {other.currency} cannot be added")
        return Money(self.amount + other.amount, self.currency)

    def __mul__(self, quantity: int) -> "Money":
        return Money(self.amount * quantity, self.currency)

    def __str__(self) -> str:
        return f"{to_decimal(self):,f} {self.currency}"


@cache
def _load_minor_digits() -> dict[str, int]:
    """Return the decimals of every current currency. The list is read when it is first needed: interfaces import Money."""
    from iso4217 import Currency

    return {str(one.code): one.exponent for one in Currency if one.exponent is not None}


def is_currency(code: str) -> bool:
    """Return whether ISO 4217 lists a code as a currency with minor units. Codes of metals and for tests have none."""
    return code in _load_minor_digits()


def get_minor_digits(currency: str) -> int:
    """Return the decimals of a currency by ISO 4217: 2 for EUR, 0 for JPY, 3 for KWD."""
    return _load_minor_digits().get(currency, DEFAULT_MINOR_DIGITS)


def to_decimal(money: Money) -> Decimal:
    """Return an amount in the units that people write, with all decimals of its currency: 9800 EUR cents are 98.00."""
    return Decimal(money.amount).scaleb(-get_minor_digits(money.currency))


def parse_money(text: str, currency: str) -> Money:
    """Read an amount as people write it: 98.00 EUR, 98 JPY, 98.000 KWD. Decimals may be left out, separators are refused.

    Raises ValueError, with a sentence for the person who wrote it.
    """
    digits = get_minor_digits(currency)
    example = to_decimal(Money(98 * 10**digits, currency))
    if not (match := re.fullmatch(r"(-?[0-9]{1,20})(?:\.([0-9]{1,20}))?", text.strip())):
        raise ValueError(f"Enter an amount in {currency} as in {example}, without a currency sign or other separators.")
    if len(match[2] or "") > digits:
        limit = f"at most {digits} decimals" if digits else "no decimals"
        raise ValueError(f"An amount in {currency} has {limit}. Enter it as in {example}.")
    return Money(int(Decimal(match[0]).scaleb(digits)), currency)


def convert_money(money: Money, currency: str, rate: Decimal) -> Money:
    """Convert an amount to another currency and round half up, but never a positive amount to nothing.

    rate: units of `currency` for one unit of the amount's currency; minor units and their decimals are accounted for.
    """
    exact = to_decimal(money) * rate
    amount = int(exact.scaleb(get_minor_digits(currency)).quantize(Decimal(1), ROUND_HALF_UP))
    return Money(max(amount, min(money.amount, 1)), currency)


def sum_amounts(amounts: Iterable[Money], currency: str) -> Money:
    """Return the sum, which is zero for no amounts. Raises ValueError for an amount in another currency."""
    result = Money(0, currency)
    for amount in amounts:
        result += amount
    return result
