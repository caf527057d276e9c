"""Identifiers: UUIDv7 and readable numbers."""

import time

from shop.ids import ALPHABET, readable_number, uuid7


def test_a_uuid7_has_its_version_and_variant():
    ids = [uuid7() for _ in range(1000)]
    assert {(one.version, one.variant) for one in ids} == {(7, "specified in RFC 4122")}
    assert len(set(ids)) == 1000


def test_a_uuid7_contains_the_time_in_milliseconds():
    before = time.time_ns() // 1_000_000
    milliseconds = uuid7().int >> 80
    assert before <= milliseconds <= time.time_ns() // 1_000_000


def test_uuid7s_of_later_milliseconds_sort_later():
    ids = []
    for _ in range(20):
        ids.append(uuid7())
        time.sleep(0.0011)
    assert ids == sorted(ids)


def test_a_readable_number_has_no_ambiguous_characters():
    numbers = {readable_number() for _ in range(500)}
    assert len(numbers) == 500
    assert all(len(number) == 10 and set(number) <= set(ALPHABET) for number in numbers)
    assert not set("01IO") & set(ALPHABET)
