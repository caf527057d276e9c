"""Settings of orders."""

from shop.settings import read_positive_number

RESERVATION_HOLD_SECONDS = read_positive_number("RESERVATION_HOLD_SECONDS", 900)
ON_HOLD_SECONDS = read_positive_number("ON_HOLD_SECONDS", 72 * 3600)
