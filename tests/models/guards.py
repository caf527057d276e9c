"""The guards of the models, each with the rule that requires it and the planted bugs that remove it from the code."""

from typing import NamedTuple


class Link(NamedTuple):
    """The places where a guard of a model is implemented and tested."""

    rule: str  # of docs/protocol.md
    planted_bugs: tuple[str, ...]  # of tests/mutants


GUARDS: dict[str, Link] = {
    "delivery.key_lock": Link("2.1", ("stock_event_without_new_sequence",)),
    "delivery.prefix": Link("2.2", ("relay_ignores_earlier_deliveries",)),
    "delivery.handler_order": Link("2.2", ("inbox_ignores_earlier_events", "inbox_skips_parked_event")),
    "delivery.refuse_unknown": Link(
        "2.3",
        (
            "inbox_accepts_event_without_handler",
            "inbox_accepts_unknown_version",
            "inbox_handles_unknown_version",
            "relay_acknowledges_refused_delivery",
            "broker_acknowledges_refused_envelope",
        ),
    ),
    "delivery.inbox_atomic": Link(
        "2.3",
        (
            "broker_acknowledges_unstored_envelope",
            "broker_counts_sent_as_delivered",
            "inbox_stores_for_first_handler_only",
        ),
    ),
    "delivery.inbox_unique": Link("2.3", ("inbox_handles_event_twice",)),
    "delivery.arrival_order": Link(
        "2.11",
        (
            "arrival_overtakes_waiting_event",
            "arrival_overtakes_parked_event",
            "arrival_overtakes_earlier_event_of_batch",
        ),
    ),
    "delivery.arrival_atomic": Link(
        "2.11", ("arrival_marks_before_the_effects", "arrival_keeps_marks_of_failed_batch")
    ),
    "delivery.purge_after_ack": Link("2.6", ("inbox_accepts_expired_event", "delivery_replayed_after_retention")),
    "delivery.park_refused": Link("2.10", ("relay_parks_after_outage",)),
    "delivery.discard_parked": Link("2.10", ("unparked_delivery_discarded",)),
    "checkout.tombstone": Link(
        "1.1", ("payment_cancel_leaves_no_tombstone", "reservation_release_leaves_no_tombstone")
    ),
    "checkout.fence": Link(
        "3.1", ("saga_is_not_fenced", "lease_without_new_attempt", "transaction_ignores_failed_condition")
    ),
    "checkout.undo_tried": Link(
        "3.3", ("saga_cancel_skips_undo_of_running_step", "saga_expiry_skips_undo_of_running_step")
    ),
    "checkout.cancel_flag": Link("3.4", ("cancel_writes_status_without_lease", "saga_confirms_despite_cancel")),
    "checkout.saga_owns_expiry": Link("3.5", ("reservation_released_by_inventory_on_expiry",)),
    "checkout.one_undo": Link("3.6", ("payment_cancel_keeps_captured_money",)),
    "checkout.free_after_money": Link("3.6", ("saga_releases_stock_before_payment_is_final",)),
    "capture_set.fence": Link("3.10", ("set_marks_order_of_another_worker_paid",)),
    "capture_set.wake_up": Link("3.10", ("set_ignores_cancel",)),
    "capture_set.capturable": Link("3.10", ("set_of_captures_begins_cancelled_payments",)),
    "payment.notfound_inconclusive": Link("4.1", ("payment_treats_not_found_as_decline",)),
    "payment.force_before_giveup": Link("4.1", ("payment_treats_not_found_as_voided",)),
    "settlement.ask_before_expiry": Link(
        "3.5",
        (
            "saga_expires_without_asking_provider",
            "saga_cancels_on_hold_without_asking_provider",
            "saga_expires_while_provider_is_silent",
        ),
    ),
    "settlement.retry_after_refusal": Link("3.7", ("payment_retries_unanswered_capture",)),
    "settlement.account_for_amounts": Link("4.4", ("payment_ignores_refunds_at_the_provider",)),
    "settlement.end_refused_refund": Link("4.4", ("refused_refund_keeps_checkout_open",)),
    "durability.same_server": Link("9.2", ("effects_relaxed_on_another_server",)),
    "durability.same_session": Link("9.2", ("acknowledged_after_a_lost_session",)),
    "durability.repeat_waits": Link("9.2", ("repeated_event_is_not_on_the_disk",)),
    "durability.claim_waits": Link("9.3", ("relaxed_claim_of_deliveries",)),
    "durability.lease_waits": Link("9.4", ("relaxed_lease",)),
    "durability.hold_waits": Link("9.4", ("attempt_counted_by_relaxed_commit",)),
    "payment.version_guard": Link("4.3", ("payment_save_ignores_version", "payment_save_is_not_fenced")),
}
