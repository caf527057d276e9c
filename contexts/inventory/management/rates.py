"""Read an exchange rate from the command line."""

from argparse import ArgumentTypeError
from decimal import Decimal, InvalidOperation


def parse_rate(text: str) -> Decimal:
    """Read an exchange rate above zero. Raises ArgumentTypeError."""
    try:
        rate = Decimal(text)
    except InvalidOperation:
        rate = Decimal(0)
    if not (rate.is_finite() and Decimal("1e-9") <= rate <= Decimal("1e9")):
        raise ArgumentTypeError(f"{text!r} is not an exchange rate such as 1.08")
    return rate
