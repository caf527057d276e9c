"""Leases: one worker at a time, and the next one when it is gone. Tried on rows of the inbox, which are leased."""

import time
from datetime import timedelta

import pytest
from django.db import OperationalError

from shop import inbox, leases
from shop.database import changed, rows
from shop.ids import uuid7
from shop.models import InboxRow
from tests.shop.post import READER, deliveries, hurry, inbox_rows, listen, note, notes, send, stream
from tests.threads import at_once, eventually

ALIAS = READER


@pytest.fixture
def row(letter):
    """Leased work that no handler knows, so that only the test takes it."""
    return InboxRow.objects.using(ALIAS).create(
        event_id=uuid7(), handler="orders.test", ordered=False, name="n", stream=stream(letter), sequence=1, envelope={}
    )


def take(row):
    return leases.take(InboxRow, ALIAS, row.pk)


def let_run_out(row):
    changed(ALIAS, "UPDATE shop_inboxrow SET lease_until = now(), due_at = now() WHERE id = %s", [row.pk])


def seconds_left(row):
    [(left,)] = rows(ALIAS, "SELECT extract(epoch FROM lease_until - now()) FROM shop_inboxrow WHERE id = %s", [row.pk])
    return float(left)


def reread(row):
    return InboxRow.objects.using(ALIAS).get(pk=row.pk)


def test_a_free_row_is_taken_for_five_seconds_with_the_next_attempt(row):
    mine = take(row)
    assert mine.attempt == row.attempt + 1
    assert 4 < seconds_left(row) <= 5


def test_a_busy_row_is_not_taken_and_is_woken(row):
    mine = take(row)
    assert take(row) is None
    assert (reread(row).woken, reread(row).attempt) == (True, mine.attempt)


def test_taking_a_row_that_was_woken_begins_with_a_clean_flag(row):
    take(row)
    take(row)
    let_run_out(row)
    assert take(row).woken is False


def test_a_lease_that_ran_out_is_taken_over_with_a_higher_attempt(row):
    first = take(row)
    let_run_out(row)
    assert take(row).attempt == first.attempt + 1


def test_a_released_row_can_be_taken(row):
    take(row)
    changed(ALIAS, "UPDATE shop_inboxrow SET lease_until = NULL WHERE id = %s", [row.pk])
    assert take(row) is not None


def test_one_of_many_takes_a_row(row):
    taken = at_once(*[lambda: take(row)] * 20)
    assert [one.attempt for one in taken if one] == [1]


def test_looking_before_taking_would_let_many_take_a_row(row):
    def look_then_take():
        free = rows(ALIAS, "SELECT 1 FROM shop_inboxrow WHERE id = %s AND lease_until IS NULL", [row.pk])
        meet.wait(5)
        return bool(free) and changed(ALIAS, "UPDATE shop_inboxrow SET lease_until = now() WHERE id = %s", [row.pk])

    from threading import Barrier

    meet = Barrier(4)
    assert at_once(*[look_then_take] * 4) == [1, 1, 1, 1]


def test_a_row_that_is_not_there_cannot_be_taken():
    with pytest.raises(InboxRow.DoesNotExist):
        leases.take(InboxRow, ALIAS, 2**62)


def due():
    return leases.due(InboxRow, ALIAS, limit=100_000)


def test_due_are_the_free_rows_whose_time_has_come(row):
    assert row.pk not in due()
    changed(ALIAS, "UPDATE shop_inboxrow SET due_at = now() + interval '1 hour' WHERE id = %s", [row.pk])
    assert row.pk not in due()
    changed(ALIAS, "UPDATE shop_inboxrow SET due_at = now() WHERE id = %s", [row.pk])
    assert row.pk in due()
    take(row)
    assert row.pk not in due()
    let_run_out(row)
    assert row.pk in due()


def test_a_row_that_is_held_is_not_due_though_its_time_has_come(row):
    """As after five seconds of work: only the lease is renewed."""
    take(row)
    changed(ALIAS, "UPDATE shop_inboxrow SET due_at = now() WHERE id = %s", [row.pk])
    assert row.pk not in due()
    changed(ALIAS, "UPDATE shop_inboxrow SET lease_until = now() WHERE id = %s", [row.pk])
    assert row.pk in due()


def overdue(row):
    changed(ALIAS, "UPDATE shop_inboxrow SET due_at = now() - interval '1 day' WHERE id = %s", [row.pk])


@pytest.mark.parametrize("trouble", [OperationalError("away"), TypeError("a bug")])
def test_a_row_in_trouble_does_not_keep_the_others_waiting(row, trouble):
    """And the next time it comes after them, for to take a row is to put it at the end of the line."""
    overdue(row)
    other = InboxRow.objects.using(ALIAS).create(
        event_id=uuid7(), handler="orders.test", ordered=False, name="n", stream="s", sequence=1, envelope={}
    )
    overdue(other)
    seen = []

    def work(key):
        if leases.take(InboxRow, ALIAS, key) and key == row.pk:
            raise trouble
        seen.append(key)

    leases.work_off(InboxRow, ALIAS, work)
    assert other.pk in seen
    assert row.pk not in seen
    changed(ALIAS, "UPDATE shop_inboxrow SET lease_until = NULL WHERE id = %s", [row.pk])
    assert row.pk not in due()
    InboxRow.objects.using(ALIAS).filter(pk=other.pk).delete()


def renewed(row):
    return seconds_left(row) > 3


def is_renewed_within_two_turns(row):
    deadline = time.monotonic() + 2 * leases.RENEWAL
    while not renewed(row) and time.monotonic() < deadline:
        time.sleep(0.02)  # what must not happen can only be waited for
    return renewed(row)


def nearly_over(row):
    changed(ALIAS, "UPDATE shop_inboxrow SET lease_until = now() + interval '3 seconds' WHERE id = %s", [row.pk])


def test_a_lease_is_renewed_while_its_holder_works(row):
    mine = take(row)
    with leases.renewing(mine, ALIAS):
        nearly_over(row)
        assert eventually(lambda: renewed(row))


def test_a_lease_is_not_renewed_after_its_holder_has_ended(row):
    mine = take(row)
    with leases.renewing(mine, ALIAS):
        pass
    nearly_over(row)
    assert not is_renewed_within_two_turns(row)


def test_who_was_fenced_renews_nothing(row):
    mine = take(row)
    with leases.renewing(mine, ALIAS):
        changed(ALIAS, "UPDATE shop_inboxrow SET attempt = attempt + 1 WHERE id = %s", [row.pk])
        nearly_over(row)
        assert not is_renewed_within_two_turns(row)


def test_the_end_of_a_fenced_holder_leaves_its_successor_in_the_same_process_renewed(row):
    with leases.renewing(take(row), ALIAS):
        let_run_out(row)
        successor = leases.renewing(take(row), ALIAS)
        successor.__enter__()
    nearly_over(row)
    assert eventually(lambda: renewed(row))
    successor.__exit__(None, None, None)


def test_renewal_outlives_a_table_that_cannot_be_written(row):
    nowhere = (ALIAS, "no_such_table", "id")
    keeper = leases._keepers.setdefault(ALIAS, leases._Keeper())
    keeper.add(nowhere, 1, 1)
    test_a_lease_is_renewed_while_its_holder_works(row)
    keeper.remove(nowhere, 1, 1)


def test_what_was_claimed_together_is_renewed_together(letter):
    """The last of a batch keeps its lease however long the first takes."""
    last = uuid7()
    seen = []

    def slow(event):
        if event.letter_id == letter:
            changed(READER, "UPDATE shop_inboxrow SET lease_until = now() + interval '3 seconds' WHERE stream = %s",
                    [stream(last)])  # fmt: skip
            seen.append(eventually(lambda: renewed(inbox_rows(last)[0])))
        note(event.letter_id)

    listen(slow, atomic=False)
    for one in (letter, last):
        send(one, "hello")
        hurry(one)
    from shop import relay

    relay.deliver_due("payments")
    inbox.handle_due(READER)
    assert deliveries(last)[0].acknowledged_at is not None
    assert (seen, notes(last)) == ([True], ["read"])


def test_a_lease_is_longer_than_several_renewals():
    assert timedelta(seconds=3 * leases.RENEWAL) < leases.LEASE
