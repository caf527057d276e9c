"""Money: an integer of minor units and an ISO 4217 currency code. Never a float."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated

import msgspec

MAX_AMOUNT = 10**12  # minor units: far above any order, far below the limit of a bigint


class Money(msgspec.Struct, frozen=True):
    """An amount in minor units (1999 is 19.99 EUR) of one currency."""

    amount: int
    currency: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}$(?!\n)")]

    def __add__(self, other: "Money") -> "Money":
        if self.currency != other.currency:
            raise ValueError(f"{self.currency} and {other.currency} cannot be added")
        return Money(self.amount + other.amount, self.currency)

    def __mul__(self, quantity: int) -> "Money":
        return Money(self.amount * quantity, self.currency)

    def __str__(self) -> str:
        digits = MINOR_DIGITS.get(self.currency, 2)
        return f"{Decimal(self.amount).scaleb(-digits):,.{digits}f} {self.currency}"


MINOR_DIGITS = {"JPY": 0, "KRW": 0, "ISK": 0, "KWD": 3, "BHD": 3, "TND": 3}  # by currency (ISO 4217); 2 for all others


def sum_amounts(amounts: Iterable[Money], currency: str) -> Money:
    """Return the sum, which is zero for no amounts. Raises ValueError for an amount in another currency."""
    result = Money(0, currency)
    for amount in amounts:
        result += amount
    return result
