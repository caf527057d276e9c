"""Planted bugs that the tests of this folder catch. Run them with `make mutants`."""

from tests.mutants.planted import Mutant

MUTANTS = (
    Mutant(
        name="broker_acknowledges_unstored_envelope",
        what="a worker acknowledges envelopes although its database is unavailable",
        rule="protocol 2.3: stored, then acknowledged",
        module="shop.messaging.celery.tasks",
        replace="    refused = inbox.accept(subscriber, received)",
        by="""\
    try:
        refused = inbox.accept(subscriber, received)
    except OUTAGE_ERRORS:
        refused = {}""",
        caught_by="tests/shop/messaging/celery/test_messages.py::test_an_event_that_could_not_be_stored_is_not_acknowledged",
    ),
    Mutant(
        name="broker_acknowledges_refused_envelope",
        what="a worker acknowledges envelopes that its context has refused",
        rule="protocol 2.3: a refused delivery is not acknowledged; it stays due and records the reason",
        module="shop.messaging.celery.tasks",
        replace="stored = [str(envelope.id) for envelope in received if str(envelope.id) not in refused]",
        by="stored = [str(envelope.id) for envelope in received]",
        caught_by="tests/shop/messaging/celery/test_messages.py::test_a_refused_event_is_not_acknowledged_and_records_the_reason",
    ),
    Mutant(
        name="broker_accepts_unsigned_envelopes",
        what="any client that can write to the broker can announce and acknowledge events",
        rule="calls and events are signed by the context that makes them",
        module="shop.messaging.celery.signatures",
        replace="return any([hmac.compare_digest(signature.encode(), one.encode()) for one in expected])",
        by="return bool(signature and expected)",
        caught_by="tests/shop/messaging/celery/test_messages.py::test_messages_without_a_valid_signature_are_ignored",
    ),
    Mutant(
        name="broker_counts_sent_as_delivered",
        what="a delivery counts as delivered when the broker has accepted it",
        rule="protocol 2.3: stored in the subscriber's inbox, then acknowledged; a broker may lose anything",
        module="shop.messaging.relay",
        replace="                to_deliver[subscriber] |= batch",
        by="""\
                to_deliver[subscriber] |= batch
            else:
                _acknowledge(publisher, list(batch))""",
        caught_by="tests/shop/messaging/celery/test_messages.py::test_a_delivery_completes_when_the_subscriber_acknowledges_it",
    ),
    Mutant(
        name="broker_queue_has_no_limit",
        what="messages are sent without limit to a queue that has no consumer",
        rule="protocol 2.7: the broker only transports messages; a delivery that it loses is delivered directly",
        module="shop.messaging.celery.broker",
        replace="if self._count_waiting_messages(producer, queue) > MAX_QUEUE_LENGTH and not ignore_queue_limit:",
        by="if self._count_waiting_messages(producer, queue) > 1e9 and not ignore_queue_limit:",
        caught_by="tests/shop/messaging/celery/test_messages.py::test_a_queue_without_consumer_is_limited",
    ),
    Mutant(
        name="broker_acknowledges_through_lost_connection",
        what="a worker acknowledges through a lost connection, and ends",
        rule="a broker may be killed at any moment, and its workers continue",
        module="shop.messaging.celery.consumer",
        replace="""\
            vars(lost).update(basic_ack=_raise_connection_lost, basic_reject=_raise_connection_lost)
""",
        by="",
        caught_by="tests/shop/messaging/celery/test_workers.py::test_a_worker_survives_a_broker_crash_while_it_stores_envelopes",
    ),
    Mutant(
        name="broker_resends_lost_envelopes",
        what="envelopes that a broker has lost are sent through it again instead of delivered directly",
        rule="protocol 2.7: repeated with backoff; the broker may be flushed or absent at any moment",
        module="shop.messaging.relay",
        replace="batches = to_send if send and delivery.attempts == 1 else to_deliver",
        by="batches = to_send if send else to_deliver",
        caught_by="tests/shop/messaging/celery/test_messages.py::test_a_message_lost_by_the_broker_is_delivered_directly",
    ),
    Mutant(
        name="broker_wake_up_blocks_the_request",
        what="a request sends its wake-up to the broker itself",
        rule="a broker that is slow, hung or absent must not slow a request down",
        module="shop.messaging.celery.wake_up",
        replace="""\
            with self.lock:
                self.pending.add((task, context))
            self.is_pending.set()""",
        by="            broker.broker.send(context, task, context)",
        caught_by="tests/shop/messaging/celery/test_messages.py::test_a_commit_does_not_wait_for_a_broken_broker",
    ),
    Mutant(
        name="broker_acknowledges_on_receipt",
        what="a message is acknowledged when a worker receives it, not when it is stored",
        rule="late acknowledgement: a worker that is killed leaves its messages with the broker",
        module="shop.messaging.celery.app",
        replace="task_acks_late=True,",
        by="task_acks_late=False,",
        caught_by="tests/shop/messaging/celery/test_late_acknowledgement.py::test_a_message_stays_with_the_broker_when_its_worker_is_killed_while_storing",
    ),
    Mutant(
        name="broker_outage_is_not_shared_between_threads",
        what="each thread waits for a broker that has just not responded",
        rule="an unavailable broker delays no request and no delivery",
        module="shop.messaging.celery.broker",
        replace="self.paused_until = time.monotonic() + RETRY_COOLDOWN_SECONDS",
        by="self.paused_until = 0.0",
        caught_by="tests/shop/messaging/celery/test_messages.py::test_a_broken_broker_is_tried_once",
    ),
    Mutant(
        name="broker_slowness_is_ignored",
        what="each message waits for a broker that responds slowly",
        rule="a slow broker delays no request and no delivery",
        module="shop.messaging.celery.broker",
        replace="if (duration := time.monotonic() - started) > BROKER_TIMEOUT_SECONDS / 2:",
        by="if (duration := time.monotonic() - started) > 100 * BROKER_TIMEOUT_SECONDS:",
        caught_by="tests/shop/messaging/celery/test_messages.py::test_a_broken_broker_is_tried_once",
    ),
    Mutant(
        name="watchdog_accepts_unknown_contexts",
        what="any client that can write to the broker adds contexts to the watchdog",
        rule="a client that can write to the broker can wake workers, and nothing else",
        module="shop.messaging.celery.watchdog",
        replace="""\
        if context in self.missed_heartbeats:
            self.missed_heartbeats[context] = 0""",
        by="        self.missed_heartbeats[context] = 0",
        caught_by="tests/shop/messaging/celery/test_messages.py::test_the_watchdog_ignores_unsigned_messages",
    ),
    Mutant(
        name="watchdog_fires_while_broker_is_down",
        what="the watchdog fires although the broker is unavailable",
        rule="a worker continues without a broker; a restart would not help",
        module="shop.messaging.celery.watchdog",
        replace="""\
            if broker.send(context, "heartbeat", context, ignore_queue_limit=True):
                self.missed_heartbeats[context] += 1""",
        by="""\
            broker.send(context, "heartbeat", context, ignore_queue_limit=True)
            self.missed_heartbeats[context] += 1""",
        caught_by="tests/shop/messaging/celery/test_messages.py::test_the_watchdog_does_not_fire_for_a_broken_broker",
    ),
    Mutant(
        name="watchdog_accepts_unsigned_envelopes",
        what="any client that can write to the broker silences the watchdog with unsigned envelopes",
        rule="calls and events are signed by the context that makes them",
        module="shop.messaging.celery.tasks",
        replace="    if not has_valid_signature(signature, sender, task, receiver, body):",
        by="""\
    WorkerState.watchdog.record_message(receiver)
    if not has_valid_signature(signature, sender, task, receiver, body):""",
        caught_by="tests/shop/messaging/celery/test_messages.py::test_the_watchdog_ignores_unsigned_messages",
    ),
    Mutant(
        name="watchdog_never_fires",
        what="the watchdog does not fire",
        rule="a consumer that stopped consuming is detected and restarted",
        module="shop.messaging.celery.watchdog",
        replace="if missed >= MAX_MISSED_HEARTBEATS:",
        by="if missed >= 10 * MAX_MISSED_HEARTBEATS:",
        caught_by="tests/shop/messaging/celery/test_messages.py::test_the_watchdog_fires_when_no_message_arrives",
    ),
    Mutant(
        name="worker_does_not_poll",
        what="a worker does nothing without a message",
        rule="protocol 2.7: a poller, at most 2 s, behind every wake-up",
        module="ops.management.commands.worker",
        replace="poll = settings.POLL_SECONDS",
        by="poll = 3600.0",
        caught_by="tests/shop/messaging/celery/test_workers.py::test_a_worker_polls_for_what_no_message_announces",
    ),
    Mutant(
        name="worker_accepts_remote_control",
        what="any client that can write to the broker can stop workers",
        rule="a client that can write to the broker can wake workers, and nothing else",
        module="shop.messaging.celery.app",
        replace="worker_enable_remote_control=False,",
        by="worker_enable_remote_control=True,",
        caught_by="tests/shop/messaging/celery/test_workers.py::test_a_worker_cannot_be_shut_down_through_the_broker",
    ),
)
