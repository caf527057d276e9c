"""Identifiers."""

import time

from shop.ids import ALPHABET, readable_number, uuid7


def test_a_uuid7_says_its_version_and_variant():
    made = [uuid7() for _ in range(1000)]
    assert {(one.version, one.variant) for one in made} == {(7, "specified in RFC 4122")}
    assert len(set(made)) == 1000


def test_a_uuid7_carries_its_millisecond():
    before = time.time_ns() // 1_000_000
    made = uuid7().int >> 80
    assert before <= made <= time.time_ns() // 1_000_000


def test_uuid7s_of_later_milliseconds_sort_later():
    made = []
    for _ in range(20):
        made.append(uuid7())
        time.sleep(0.0011)
    assert made == sorted(made)


def test_a_readable_number_has_no_letter_that_is_misheard():
    numbers = {readable_number() for _ in range(500)}
    assert len(numbers) == 500
    assert all(len(number) == 10 and set(number) <= set(ALPHABET) for number in numbers)
    assert not set("01IO") & set(ALPHABET)
