"""Card numbers are found however people write them, and other numbers are not taken for one."""

import random

import pytest

from shop.card_numbers import has_card_number

CARDS = {
    "Visa": "4111111111111111",
    "Visa of 13 digits": "4222222222222",
    "Mastercard": "5555555555554444",
    "Mastercard, second series": "2223003122003222",
    "American Express": "378282246310005",
    "Diners": "30569309025904",
    "Discover": "6011111111111117",
    "JCB": "3530111333300000",
    "UnionPay of 19 digits": "6205500000000000004",
    "Maestro": "6759649826438453",
}


def group(number, *sizes):
    parts, rest = [], number
    for size in sizes:
        parts.append(rest[:size])
        rest = rest[size:]
    return [*parts, rest] if rest else parts


@pytest.mark.parametrize("number", CARDS.values(), ids=CARDS)
@pytest.mark.parametrize(
    "text",
    ["{}", "card {}", "{} 12/29 123", "Visa{}", "{}.", "({})", "my number is: {}; thanks", "№{}", "12345 {}"],
)
def test_a_card_number_is_found_in_a_text(number, text):
    assert has_card_number(text.format(number))


@pytest.mark.parametrize("number", CARDS.values(), ids=CARDS)
@pytest.mark.parametrize("separator", [" ", "-", ".", "/", "_", "\u00a0", "\u2013", " - ", ", ", "\u200b", "\n"])
def test_a_card_number_is_found_in_groups(number, separator):
    sizes = {15: (4, 6), 14: (4, 6), 13: (4, 3, 3)}.get(len(number), (4, 4, 4, 4))
    assert has_card_number(f"pay with {separator.join(group(number, *sizes))} please")
    assert has_card_number(separator.join(number)), "each digit apart"


@pytest.mark.parametrize("zero", "٠۰०０𝟎")
def test_a_card_number_is_found_in_the_digits_of_any_script(zero):
    number = "".join(chr(ord(zero) + int(digit)) for digit in "4111111111111111")
    assert has_card_number(f"Karte {number}")


@pytest.mark.parametrize("length", range(13, 20))
def test_any_number_of_13_to_19_digits_with_a_check_digit_counts(length):
    drawn = random.Random(length)
    for _ in range(100):
        body = [drawn.randint(1, 9), *(drawn.randint(0, 9) for _ in range(length - 2))]
        doubled = [sum(divmod(2 * digit, 10)) for digit in reversed(body)][::2]
        check = -(sum(doubled) + sum(list(reversed(body))[1::2])) % 10
        number = "".join(map(str, [*body, check]))
        assert has_card_number(number), number
        assert not has_card_number(number[:-1] + str((check + 1) % 10)), "the check digit is another one"


@pytest.mark.parametrize(
    "text",
    [
        "", "Ada Buyer", "1 Main Street", "10115", "+49 151 23456789012", "call +4915123456780 or +49 (0) 151 2345 6780",
        "0049 151 23456780", "4111 1111 1111", "411111111111", "00000000000000000000", "4111111111111111" * 2,
        "41111111111111112", "counted 2026-11-30 14:37:08", "0000 0000 0000 0000", "41111111-1111-4111-8111-111111111111",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "DEL-2026-000123", "98.00 EUR, 12.50 EUR, 7 EUR",
        "key" + "4111111111111111" + "ab" * 8, "order_41111111-1111-4111-8111-111111111111_copy",
    ],
)  # fmt: skip
def test_other_texts_have_no_card_number(text):
    assert not has_card_number(text)


def find_number(first, length, is_valid):
    return next(str(number) for number in range(int(first.ljust(length, "0")), 10**length) if is_valid(str(number)))


def test_a_phone_number_is_no_card_number():
    phone = find_number("4915123", 13, has_card_number)
    assert has_card_number(f"call {phone}")
    assert not has_card_number(f"call +{phone}")
    assert not has_card_number(phone, is_phone=True)
    assert has_card_number("4111 1111 1111 1111", is_phone=True)
    assert has_card_number("+4111111111111111", is_phone=True)
    assert has_card_number("378282246310005", is_phone=True)


def test_the_number_of_an_article_is_no_card_number_in_a_description():
    barcode = find_number(
        "40063813", 13, lambda number: has_card_number(number) and not has_card_number(number, may_have_barcodes=True)
    )
    assert not has_card_number(f"EAN {barcode}\nMug", may_have_barcodes=True)
    for number in CARDS.values():
        assert has_card_number(f"EAN {number}", may_have_barcodes=True)
