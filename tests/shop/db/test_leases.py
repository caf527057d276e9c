"""Leases: one worker at a time, and another one after it has died. Tested with rows of the inbox."""

import threading
import time
from datetime import timedelta

import pytest
from django.db import OperationalError

from shop.db import leases
from shop.db.database import execute, fetch_rows
from shop.ids import uuid7
from shop.messaging import handling, relay
from shop.models import InboxRow
from tests.concurrency import eventually, run_concurrently
from tests.shop.messaging.letters import (
    SUBSCRIBER,
    deliveries,
    inbox_rows,
    make_all_due,
    publish_letters,
    record_effect,
    recorded_effects,
    register_handler,
    stream,
)

ALIAS = SUBSCRIBER


@pytest.fixture
def row(letter):
    """A row whose handler does not exist, so that only the test acquires its lease."""
    return InboxRow.objects.using(ALIAS).create(
        event_id=uuid7(), handler="orders.test", ordered=False, name="n", stream=stream(letter), sequence=1, envelope={}
    )


def acquire_row_lease(row):
    return leases.acquire_lease(InboxRow, ALIAS, row.pk)


def expire_lease(row):
    execute(ALIAS, "UPDATE shop_inboxrow SET lease_until = now(), due_at = now() WHERE id = %s", [row.pk])


def seconds_left(row):
    [(left,)] = fetch_rows(
        ALIAS, "SELECT extract(epoch FROM lease_until - now()) FROM shop_inboxrow WHERE id = %s", [row.pk]
    )
    return float(left)


def reload(row):
    return InboxRow.objects.using(ALIAS).get(pk=row.pk)


def test_a_free_lease_is_acquired_for_five_seconds_with_the_next_attempt(row):
    mine = acquire_row_lease(row)
    assert mine.attempt == row.attempt + 1
    assert 4 < seconds_left(row) <= 5


def test_a_leased_row_is_not_taken_and_is_flagged_as_woken(row):
    mine = acquire_row_lease(row)
    assert acquire_row_lease(row) is None
    assert (reload(row).woken, reload(row).attempt) == (True, mine.attempt)


def test_acquiring_a_lease_clears_the_woken_flag(row):
    acquire_row_lease(row)
    acquire_row_lease(row)
    expire_lease(row)
    assert acquire_row_lease(row).woken is False


def test_a_lease_that_ran_out_is_taken_over_with_a_higher_attempt(row):
    first = acquire_row_lease(row)
    expire_lease(row)
    assert acquire_row_lease(row).attempt == first.attempt + 1


def test_a_released_lease_can_be_acquired(row):
    acquire_row_lease(row)
    execute(ALIAS, "UPDATE shop_inboxrow SET lease_until = NULL WHERE id = %s", [row.pk])
    assert acquire_row_lease(row) is not None


def test_one_of_many_takes_a_row(row):
    taken = run_concurrently(*[lambda: acquire_row_lease(row)] * 20)
    assert [one.attempt for one in taken if one] == [1]


def test_control_reading_before_updating_lets_many_take_a_row(row):
    def read_then_update():
        free = fetch_rows(ALIAS, "SELECT 1 FROM shop_inboxrow WHERE id = %s AND lease_until IS NULL", [row.pk])
        barrier.wait(5)
        return bool(free) and execute(ALIAS, "UPDATE shop_inboxrow SET lease_until = now() WHERE id = %s", [row.pk])

    barrier = threading.Barrier(4)
    assert run_concurrently(*[read_then_update] * 4) == [1, 1, 1, 1]


def test_the_lease_of_a_missing_row_cannot_be_acquired():
    with pytest.raises(InboxRow.DoesNotExist):
        leases.acquire_lease(InboxRow, ALIAS, 2**62)


def due_keys():
    return leases.list_due_keys(InboxRow, ALIAS, limit=100_000)


def test_due_rows_are_free_and_past_their_time(row):
    assert row.pk not in due_keys()
    execute(ALIAS, "UPDATE shop_inboxrow SET due_at = now() + interval '1 hour' WHERE id = %s", [row.pk])
    assert row.pk not in due_keys()
    execute(ALIAS, "UPDATE shop_inboxrow SET due_at = now() WHERE id = %s", [row.pk])
    assert row.pk in due_keys()
    acquire_row_lease(row)
    assert row.pk not in due_keys()
    expire_lease(row)
    assert row.pk in due_keys()


def test_a_leased_row_is_not_due_although_its_time_has_passed(row):
    """This is the state after five seconds of work, because renewal does not change due_at."""
    acquire_row_lease(row)
    execute(ALIAS, "UPDATE shop_inboxrow SET due_at = now() WHERE id = %s", [row.pk])
    assert row.pk not in due_keys()
    execute(ALIAS, "UPDATE shop_inboxrow SET lease_until = now() WHERE id = %s", [row.pk])
    assert row.pk in due_keys()


def make_overdue(row):
    execute(ALIAS, "UPDATE shop_inboxrow SET due_at = now() - interval '1 day' WHERE id = %s", [row.pk])


@pytest.mark.parametrize("failure", [OperationalError("connection lost"), TypeError("a bug")])
def test_a_failing_row_does_not_block_the_others(row, failure):
    """Next time it comes after them, because acquiring the lease has moved its due time."""
    make_overdue(row)
    other = InboxRow.objects.using(ALIAS).create(
        event_id=uuid7(), handler="orders.test", ordered=False, name="n", stream="s", sequence=1, envelope={}
    )
    make_overdue(other)
    processed = []

    def process(key):
        if leases.acquire_lease(InboxRow, ALIAS, key) and key == row.pk:
            raise failure
        processed.append(key)

    leases.process_due_rows(InboxRow, ALIAS, process)
    assert other.pk in processed
    assert row.pk not in processed
    execute(ALIAS, "UPDATE shop_inboxrow SET lease_until = NULL WHERE id = %s", [row.pk])
    assert row.pk not in due_keys()
    InboxRow.objects.using(ALIAS).filter(pk=other.pk).delete()


def is_renewed(row):
    return seconds_left(row) > 3


def is_renewed_within_two_intervals(row):
    deadline = time.monotonic() + 2 * leases.RENEWAL_INTERVAL_SECONDS
    while not is_renewed(row) and time.monotonic() < deadline:
        time.sleep(0.02)  # the absence of a renewal can only be observed over time
    return is_renewed(row)


def shorten_lease(row):
    execute(ALIAS, "UPDATE shop_inboxrow SET lease_until = now() + interval '3 seconds' WHERE id = %s", [row.pk])


def test_a_lease_is_renewed_while_its_holder_works(row):
    mine = acquire_row_lease(row)
    with leases.keep_lease_alive(mine, ALIAS):
        shorten_lease(row)
        assert eventually(lambda: is_renewed(row))


def test_a_lease_is_not_renewed_after_its_holder_has_ended(row):
    mine = acquire_row_lease(row)
    with leases.keep_lease_alive(mine, ALIAS):
        pass
    shorten_lease(row)
    assert not is_renewed_within_two_intervals(row)


def test_a_fenced_holder_renews_nothing(row):
    mine = acquire_row_lease(row)
    with leases.keep_lease_alive(mine, ALIAS):
        execute(ALIAS, "UPDATE shop_inboxrow SET attempt = attempt + 1 WHERE id = %s", [row.pk])
        shorten_lease(row)
        assert not is_renewed_within_two_intervals(row)


def test_the_end_of_a_fenced_holder_does_not_stop_renewal_for_its_successor(row):
    with leases.keep_lease_alive(acquire_row_lease(row), ALIAS):
        expire_lease(row)
        successor = leases.keep_lease_alive(acquire_row_lease(row), ALIAS)
        successor.__enter__()
    shorten_lease(row)
    assert eventually(lambda: is_renewed(row))
    successor.__exit__(None, None, None)


def test_renewal_survives_a_table_that_cannot_be_written(row):
    missing = leases._LeasedTable(ALIAS, "no_such_table", "id")
    keeper = leases._lease_keepers.setdefault(ALIAS, leases._LeaseKeeper())
    keeper.add(missing, 1, 1)
    test_a_lease_is_renewed_while_its_holder_works(row)
    keeper.remove(missing, 1, 1)


def test_rows_claimed_together_are_renewed_together(letter):
    """The last row of a batch keeps its lease while the first one is processed."""
    last = uuid7()
    renewals = []

    def slow(event):
        if event.letter_id == letter:
            shorten_lease(inbox_rows(last)[0])
            renewals.append(eventually(lambda: is_renewed(inbox_rows(last)[0])))
        record_effect(event.letter_id)

    register_handler(slow, atomic=False)
    for one in (letter, last):
        publish_letters(one, "hello")
        make_all_due(one)
    relay.deliver_due("payments")
    handling.handle_due(SUBSCRIBER)
    assert deliveries(last)[0].acknowledged_at is not None
    assert (renewals, recorded_effects(last)) == ([True], ["read"])


def test_a_lease_is_longer_than_several_renewals():
    assert timedelta(seconds=3 * leases.RENEWAL_INTERVAL_SECONDS) < leases.LEASE_DURATION
