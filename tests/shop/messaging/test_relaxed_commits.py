"""Commits that do not wait for the disk: only follow-up work, and only where its acknowledgement follows in the same log."""

import msgspec
import pytest
from django.db import connections
from structlog.testing import capture_logs

from shop import chaos
from shop.db import leases
from shop.messaging import handling, inbox, relay
from shop.messaging.events import Envelope
from shop.models import InboxRow
from tests.concurrency import run_before_statement
from tests.shop.db.superuser_session import execute_as_superuser, terminate_connection
from tests.shop.db.unwritten_log import count_bytes_not_on_disk, stopped_wal_writer
from tests.shop.messaging.letters import (
    PUBLISHER,
    SUBSCRIBER,
    deliver,
    deliveries,
    inbox_rows,
    make_all_due,
    publish_letters,
    record_text,
    record_texts,
    recorded_effects,
    register_handler,
)

pytestmark = pytest.mark.usefixtures("in_one_process", "idle_wal_writer")

STORE, ACKNOWLEDGE = "INSERT INTO shop_inboxrow", "SET acknowledged_at"


@pytest.fixture(scope="module")
def idle_wal_writer():
    with stopped_wal_writer():
        yield


@pytest.fixture
def batch_handler():
    register_handler(record_text, many=record_texts)


@pytest.fixture
def run_at_point():
    """Return a function that runs an action once, when this process reaches a point."""

    def arm(point, action):
        waiting = [action]

        def handle(reached):
            if reached == point and waiting:
                waiting.pop()()

        chaos.on_point_reached = handle

    yield arm
    chaos.on_point_reached = None


def lose_session():
    connections[PUBLISHER].connection.close()
    connections[PUBLISHER].close()


def test_effects_do_not_wait_if_the_acknowledgement_follows_in_the_same_log(letter, batch_handler):
    publish_letters(letter, "hello")
    with run_before_statement(PUBLISHER, ACKNOWLEDGE, count_bytes_not_on_disk) as before_acknowledgement:
        relay.deliver_due(PUBLISHER)
    assert recorded_effects(letter) == ["hello"]
    assert before_acknowledgement[0] > 0
    assert count_bytes_not_on_disk() > before_acknowledgement[0]


def test_nothing_is_relaxed_if_the_setting_is_off(letter, batch_handler, settings):
    settings.CONNECTIONS = settings.CONNECTIONS._replace(relaxed_commits=False)
    publish_letters(letter, "hello")
    with run_before_statement(PUBLISHER, ACKNOWLEDGE, count_bytes_not_on_disk) as before_acknowledgement:
        relay.deliver_due(PUBLISHER)
    assert (before_acknowledgement, count_bytes_not_on_disk()) == ([0], 0)


def test_an_event_is_handed_over_after_a_claim_that_has_waited(letter, batch_handler):
    publish_letters(letter, "hello")
    with run_before_statement(SUBSCRIBER, STORE, count_bytes_not_on_disk) as before_store:
        relay.deliver_due(PUBLISHER)
    assert before_store == [0]


def test_effects_wait_if_the_publisher_is_on_another_server(letter, batch_handler):
    publish_letters(letter, "hello")
    connections[PUBLISHER].ensure_connection()
    identifier, started_at = connections[SUBSCRIBER].connection.server_identity
    connections[PUBLISHER].connection.server_identity = (identifier + 1, started_at)
    try:
        with run_before_statement(PUBLISHER, ACKNOWLEDGE, count_bytes_not_on_disk) as before_acknowledgement:
            relay.deliver_due(PUBLISHER)
    finally:
        connections[PUBLISHER].connection.server_identity = (identifier, started_at)
    assert (recorded_effects(letter), before_acknowledgement) == (["hello"], [0])


def test_a_copy_of_a_server_is_another_server():
    connections[PUBLISHER].ensure_connection()
    connections[SUBSCRIBER].ensure_connection()
    identity = connections[PUBLISHER].connection.server_identity
    assert identity == connections[SUBSCRIBER].connection.server_identity
    started = execute_as_superuser("SELECT system_identifier, pg_postmaster_start_time() FROM pg_control_system()")
    assert [identity] == started


def test_events_are_postponed_if_the_session_of_the_subscriber_is_lost(letter, batch_handler):
    publish_letters(letter, "hello")
    terminate_connection(SUBSCRIBER)
    vars(connections[SUBSCRIBER].connection).pop("server_identity", None)
    with capture_logs() as logs:
        relay.deliver_due(PUBLISHER)
    assert [line["event"] for line in logs if line["log_level"] == "warning"] == ["batch_postponed"]
    handling.handle_due(SUBSCRIBER)
    assert recorded_effects(letter) == ["hello"]


def test_effects_wait_if_another_process_delivers(letter, batch_handler):
    """The publisher may be on any server then."""
    publish_letters(letter, "hello")
    sent = []
    relay.deliver_due(PUBLISHER, lambda publisher, subscriber, envelopes: sent.extend(envelopes) or True)
    inbox.accept(SUBSCRIBER, sent)
    assert (recorded_effects(letter), count_bytes_not_on_disk()) == (["hello"], 0)


def test_without_the_session_of_the_claim_nothing_is_acknowledged(letter, batch_handler, run_at_point):
    publish_letters(letter, "hello")
    run_at_point(f"relay.{PUBLISHER}.{SUBSCRIBER}.after", lose_session)
    relay.deliver_due(PUBLISHER)
    [delivery] = deliveries(letter)
    assert delivery.acknowledged_at is None
    make_all_due(letter)
    relay.deliver_due(PUBLISHER)
    [delivery] = deliveries(letter)
    assert delivery.acknowledged_at is not None
    assert recorded_effects(letter) == ["hello"]


def test_effects_wait_if_the_session_of_the_claim_is_lost_already(letter, batch_handler, run_at_point):
    """For example because the thread has given its connection back, to get one to the subscriber."""
    publish_letters(letter, "hello")
    run_at_point(f"relay.{PUBLISHER}.{SUBSCRIBER}.before", lose_session)
    relay.deliver_due(PUBLISHER)
    [delivery] = deliveries(letter)
    assert delivery.acknowledged_at is not None
    assert recorded_effects(letter) == ["hello"]


def test_events_that_were_only_stored_are_acknowledged_in_any_session(letter, run_at_point):
    register_handler(record_text)
    publish_letters(letter, "hello")
    run_at_point(f"relay.{PUBLISHER}.{SUBSCRIBER}.after", connections.close_all)
    relay.deliver_due(PUBLISHER)
    [delivery] = deliveries(letter)
    assert delivery.acknowledged_at is not None


def test_a_repeated_event_is_on_the_disk_before_it_is_acknowledged(letter, batch_handler):
    """The first commit may have been relaxed, and the publisher may have moved to another server since."""
    publish_letters(letter, "hello")
    relay.deliver_due(PUBLISHER)
    assert count_bytes_not_on_disk() > 0
    [row] = inbox_rows(letter)
    repeated = msgspec.json.encode(row.envelope | {"is_repeated": True})
    inbox.accept(SUBSCRIBER, [msgspec.json.decode(repeated, type=Envelope)])
    assert (recorded_effects(letter), count_bytes_not_on_disk()) == (["hello"], 0)


def test_a_lease_is_taken_by_a_commit_that_waits(letter):
    register_handler(record_text)
    deliver(letter, "hello")
    [row] = inbox_rows(letter)
    assert leases.acquire_lease(InboxRow, SUBSCRIBER, row.id)
    assert count_bytes_not_on_disk() == 0
    make_all_due(letter)
    assert row.id in [one.id for one in leases.acquire_due_leases(InboxRow, SUBSCRIBER, limit=10)]
    assert count_bytes_not_on_disk() == 0
