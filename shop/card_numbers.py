"""Find the numbers of payment cards in texts that people type: no table, log or mail may have one (PCI DSS 4.0.1, 3.3 and 3.5).

A card number has 13 to 19 digits, of which the last is a check digit (ISO/IEC 7812-1). People write them in one, in groups or
with each digit apart, and in the digits of any script.
"""

import re
from itertools import accumulate
from unicodedata import normalize

MIN_DIGITS, MAX_DIGITS = 13, 19
MAX_PHONE_DIGITS = 15  # E.164, with the country code
AMEX_DIGITS, AMEX_PREFIXES = 15, ("34", "37")
BARCODE_DIGITS = (13, 14)  # GTIN-13 and GTIN-14 of GS1
SEPARATORS = r"[\W_]{1,3}"

_RUN = re.compile(rf"\d+(?:{SEPARATORS}\d+)*")
# UUIDs and hashes, also behind or before other letters: their digits are no number.
_IDENTIFIER = re.compile(
    r"(?<![0-9a-f])(?:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32,})(?![0-9a-f])", re.IGNORECASE
)


def has_card_number(text: str, *, is_phone: bool = False, may_have_barcodes: bool = False) -> bool:
    """Return whether a text has what looks like the number of a payment card.

    is_phone: the text is a phone number; only what is none counts. may_have_barcodes: numbers of articles do not count.
    """
    if not text.isascii():
        text = normalize("NFKC", text)
    if sum(map(str.isdecimal, text)) < MIN_DIGITS:
        return False
    text = _IDENTIFIER.sub("-id-", text)
    return any(
        _is_card_number(digits, is_phone, is_international, may_have_barcodes)
        for run in _RUN.finditer(text)
        for digits, is_international in _list_numbers(run.group(), text[: run.start()].endswith("+"))
    )


def remove_card_numbers(text: str) -> str:
    """Return a text without its numbers of payment cards, and without anything if they cannot be separated from the rest."""
    kept = _RUN.sub(lambda run: "" if has_card_number(run.group()) else run.group(), text)
    return "" if has_card_number(kept) else kept


def _list_numbers(run: str, follows_plus: bool) -> list[tuple[str, bool]]:
    """Return the sequences of groups of digits that may be one number, and whether a + before them makes it a phone number."""
    groups = ["".join(str(int(digit)) for digit in group) for group in re.findall(r"\d+", run)]
    found = []
    for first in range(len(groups)):
        for last, length in enumerate(accumulate(map(len, groups[first:])), first):
            if length > MAX_DIGITS:
                break
            if length >= MIN_DIGITS and _are_one_number(groups[first : last + 1]):
                found.append(("".join(groups[first : last + 1]), follows_plus and first == 0))
    return found


def _are_one_number(groups: list[str]) -> bool:
    """Return whether groups of digits are written as one number: not as a date, which has groups of four and two digits."""
    sizes = {len(group) for group in groups[:-1]}
    return len(sizes) <= 1 or min(sizes) >= 3


def _is_card_number(digits: str, is_phone: bool, is_international: bool, may_be_barcode: bool) -> bool:
    if digits.startswith("0") or not _has_luhn_check_digit(digits):
        return False
    if is_international or (is_phone and not (len(digits) == AMEX_DIGITS and digits.startswith(AMEX_PREFIXES))):
        return len(digits) > MAX_PHONE_DIGITS
    return not (may_be_barcode and len(digits) in BARCODE_DIGITS and _has_gs1_check_digit(digits))


def _has_luhn_check_digit(digits: str) -> bool:
    numbers = list(map(int, reversed(digits)))
    return (sum(numbers[::2]) + sum(sum(divmod(2 * number, 10)) for number in numbers[1::2])) % 10 == 0


def _has_gs1_check_digit(digits: str) -> bool:
    numbers = list(map(int, reversed(digits)))
    return (sum(numbers[::2]) + 3 * sum(numbers[1::2])) % 10 == 0
