"""Deadlines: how long the running code may wait for its calls."""

from shop.calls.deadline import CALL_TIMEOUT_SECONDS, deadline, remaining_seconds


def test_the_nearest_of_nested_deadlines_applies():
    with deadline(1):
        with deadline(60):
            assert remaining_seconds() <= 1
        with deadline(0.1):
            assert remaining_seconds() <= 0.1
    assert remaining_seconds() == CALL_TIMEOUT_SECONDS


def test_a_deadline_that_has_passed_leaves_no_time():
    with deadline(0):
        assert remaining_seconds() <= 0
