"""Planted bugs that the tests of this folder catch. `make mutants` runs them."""

from tests.mutants.planted import Change, Mutant

MUTANTS = (
    Mutant(
        name="refused_refund_is_not_explained",
        what="staff see that a refund was refused, but neither why nor what they can do",
        rule="Admin: the page of a payment has the provider's reason for a refused refund, and the ways on",
        module="contexts.payments.admin",
        replace="if last is None or last.status != RefundStatus.REFUSED:",
        by="if last is None or last.status == RefundStatus.REFUSED:",
        caught_by="tests/payments/test_admin.py::test_a_refund_that_the_provider_refuses_shows_why_and_how_to_go_on",
    ),
    Mutant(
        name="payment_cancel_keeps_captured_money",
        what="the captured money of a cancelled order is not refunded",
        rule="protocol 3.6: cancel voids, refunds or leaves a tombstone, according to the row of payments",
        module="contexts.payments.service.transitions",
        replace="if transition.status == PaymentStatus.CAPTURED and _can_refund_rest(row, changes):",
        by="if transition.status == PaymentStatus.CAPTURED and transition.bookings:",
        caught_by="tests/payments/test_cancel.py::test_captured_money_is_refunded_in_full",
    ),
    Mutant(
        name="payment_cancel_leaves_no_tombstone",
        what="an authorize that arrives after its cancel takes money",
        rule="protocol 1.1: undo of an unknown key leaves a tombstone",
        module="contexts.payments.service.operations",
        replace="""\
    if persistence.insert_payment(_build_tombstone(order_id)):
        return None
    row = Payment.objects.get(order_id=order_id)""",
        by="""\
    row = persistence.find_payment_of_order(order_id)
    if row is None:
        return None""",
        caught_by="tests/payments/test_authorize.py::test_authorize_that_arrives_after_its_cancel_is_closed",
    ),
    Mutant(
        name="payment_captured_after_cancel_request",
        what="money is captured after its cancel was requested",
        rule="protocol 4.3: one operation at a time; a payment to be cancelled is not captured",
        module="contexts.payments.service.starts",
        replace="condition=\"order_id = %s AND status = 'authorized' AND NOT cancel_wanted\",",
        by="condition=\"order_id = %s AND status = 'authorized'\",",
        caught_by="tests/payments/test_reconciler.py::test_a_cancel_that_died_after_its_first_write_is_resumed_and_captures_nothing",
    ),
    Mutant(
        name="payment_keeps_unexpected_funds",
        what="money that the provider captured for a final payment is not refunded",
        rule="protocol 3.8, 7.2: money found later is refunded automatically",
        module="contexts.payments.service.transitions",
        replace="""\
    PaymentStatus.VOIDED: _FINAL_RULES,
""",
        by="",
        caught_by="tests/payments/test_reconciler.py::test_a_late_capture_is_refunded_and_raises_an_alarm",
    ),
    Mutant(
        name="payment_creates_new_intent_per_attempt",
        what="an unanswered authorize is confirmed again without a check, and charges a second time",
        rule="protocol 4.1: one intent per order prevents a second charge",
        module="contexts.payments.service.processing",
        replace="""\
    response = _retrieve(provider, row)
    return confirm(provider, row) if response.status == ProviderStatus.NOT_FOUND else response""",
        by="    return confirm(provider, row)",
        caught_by="tests/payments/test_authorize.py::test_a_timeout_after_the_charge_is_reconciled_and_charged_once",
    ),
    Mutant(
        name="payment_uses_new_refund_key_per_attempt",
        what="an unanswered refund is repeated under another key, and refunds twice",
        rule="protocol 4.2: a call is repeated with the same key",
        module="contexts.payments.service.processing",
        replace="response = provider.refund(reference=row.reference, amount=amount, key=str(row.refund_id))",
        by='response = provider.refund(reference=row.reference, amount=amount, key=f"{row.refund_id} {row.attempt}")',
        caught_by="tests/payments/test_refunds.py::test_a_refund_without_response_is_pending_and_completed_later",
    ),
    Mutant(
        name="payment_runs_concurrent_captures",
        what="a capture starts while another one is running",
        rule="protocol 4.3: one operation at a time per payment, started by a conditional UPDATE",
        module="contexts.payments.service.starts",
        replace="condition=\"order_id = %s AND status = 'authorized' AND NOT cancel_wanted\",",
        by="condition=\"order_id = %s AND status IN ('authorized', 'capturing') AND NOT cancel_wanted\",",
        caught_by="tests/payments/test_capture.py::test_a_repeat_during_the_provider_call_returns_capturing",
    ),
    Mutant(
        name="payment_save_ignores_version",
        what="an outcome overwrites the cancel that was requested while it was fetched",
        rule="protocol 4.3: a fetched state is written only if the version is the one read before the fetch",
        module="contexts.payments.service.persistence",
        replace='WHERE id = %s AND attempt = %s AND version = %s"""',
        by='WHERE id = %s AND attempt = %s AND version >= %s"""',
        caught_by="tests/payments/test_cancel.py::test_a_cancel_during_a_capture_refunds_it_afterwards",
    ),
    Mutant(
        name="payment_save_is_not_fenced",
        what="a reconciler that lost its lease writes the state that it fetched",
        rule="protocol 4.2: the reconciler writes under lease and fence",
        module="contexts.payments.service.persistence",
        replace='WHERE id = %s AND attempt = %s AND version = %s"""',
        by='WHERE id = %s AND attempt >= %s AND version = %s"""',
        caught_by="tests/payments/test_reconciler.py::test_a_reconciler_writes_nothing_while_another_holds_the_lease",
    ),
    Mutant(
        name="payment_treats_capture_timeout_as_refused",
        what="a capture that timed out counts as refused, although the money may have been captured",
        rule="protocol 4.2: a timeout is unknown; the call is repeated with the same key",
        module="contexts.payments.service.transitions",
        replace="ProviderStatus.CANCELLED: _on_capture_refused,",
        by="ProviderStatus.UNKNOWN: _on_capture_refused,",
        caught_by="tests/payments/test_capture.py::test_unknown_capture_stays_capturing_until_the_same_key_is_answered",
    ),
    Mutant(
        name="payment_treats_timeout_as_decline",
        what="a provider that does not respond counts as declined",
        rule="protocol 4.2: a timeout is unknown, never a decline",
        module="contexts.payments.service.processing",
        replace="""\
        log_method("payment_unanswered", payment=str(row.id), status=row.status, attempt=row.attempt, why=str(error))
        return UNKNOWN_RESPONSE""",
        by="""\
        log_method("payment_unanswered", payment=str(row.id), status=row.status, attempt=row.attempt, why=str(error))
        return ProviderResponse(ProviderStatus.DECLINED, "no_answer")""",
        caught_by="tests/payments/test_authorize.py::test_no_response_is_unknown_and_never_a_decline",
    ),
    Mutant(
        name="payment_treats_not_found_as_decline",
        what="an intent that has not arrived yet counts as declined",
        rule="protocol 4.1: 'not found' is inconclusive",
        module="contexts.payments.service.processing",
        replace="return confirm(provider, row) if response.status == ProviderStatus.NOT_FOUND else response",
        by="""\
if response.status == ProviderStatus.NOT_FOUND:
        return ProviderResponse(ProviderStatus.DECLINED, "not_found")
    return response""",
        caught_by="tests/payments/test_reconciler.py::test_intent_that_never_arrived_is_confirmed_under_the_same_reference",
    ),
    Mutant(
        name="payment_treats_not_found_as_voided",
        what="a void whose intent the provider does not know yet counts as cancelled, and the delayed intent takes money",
        rule="protocol 4.1: 'not found' is inconclusive; cancelling the intent is the tombstone at the provider",
        module="contexts.payments.service.processing",
        replace="    return provider.cancel(reference=row.reference)",
        by="""\
    if _retrieve(provider, row).status == ProviderStatus.NOT_FOUND:
        return ProviderResponse(ProviderStatus.CANCELLED)
    return provider.cancel(reference=row.reference)""",
        caught_by="tests/payments/test_cancel.py::test_cancel_overtakes_an_authorize_that_is_in_flight[False]",
    ),
    Mutant(
        name="provider_called_inside_transaction",
        what="the payment provider is called while a transaction is open",
        rule="protocol 1.3: no call while a transaction is open, also not to a provider",
        module="contexts.payments.providers.sandbox",
        replace="""\
def _execute(sql: str, **parameters: object) -> list[tuple[Any, ...]]:  # columns of any type
    assert_no_open_transaction("the payment provider was called")""",
        by="def _execute(sql: str, **parameters: object) -> list[tuple[Any, ...]]:",
        caught_by="tests/payments/test_port.py::test_provider_is_not_called_inside_a_transaction",
    ),
    Mutant(
        name="refund_exceeds_capture",
        what="more is refunded than was captured: neither the condition nor the CHECK prevents it",
        rule="protocol 7.2: a CHECK keeps the sum of refunds within the captured amount",
        module="contexts.payments.service.starts",
        replace='AND refunded + disputed + coalesce(%s, 0) <= captured AND currency = coalesce(%s, currency)""",',
        by='AND coalesce(%s, 0) <= amount AND currency = coalesce(%s, currency)""",',
        caught_by="tests/payments/test_refunds.py::test_a_refund_above_the_remainder_is_refused",
        fails_with="contexts.payments.service.refunds.RefundRefused",
        also=(
            Change(
                "contexts.payments.migrations.0001_initial",
                "'constraints': [models.CheckConstraint(condition=models.Q(('captured__gte', django.db.models.expressions.CombinedExpression(models.F('refunded'), '+', models.F('pending'))), ('pending__gte', 0), ('refunded__gte', 0)), name='refunds_within_captured'), models.CheckConstraint(condition=models.Q(('authorized__lte', models.F('amount')), ('captured__lte', models.F('authorized'))), name='captured_within_authorized'), models.UniqueConstraint(condition=models.Q(('reference', ''), _negated=True), fields=('reference',), name='one_payment_per_reference')],",
                "'constraints': [models.CheckConstraint(condition=models.Q(('amount__gte', models.F('pending')), ('pending__gte', 0), ('refunded__gte', 0)), name='refunds_within_captured'), models.CheckConstraint(condition=models.Q(('authorized__lte', models.F('amount')), ('captured__lte', models.F('authorized'))), name='captured_within_authorized'), models.UniqueConstraint(condition=models.Q(('reference', ''), _negated=True), fields=('reference',), name='one_payment_per_reference')],",
            ),
        ),
    ),
    Mutant(
        name="payment_retries_unanswered_capture",
        what="a capture without a response starts again under another key, and may take the money twice",
        rule="protocol 3.7: another capture starts only after a definite refusal",
        module="contexts.payments.service.starts",
        replace="AND (status IN ('authorized', 'capture_refused') OR",
        by="AND (status IN ('authorized', 'capture_refused', 'capturing') OR",
        caught_by="tests/payments/test_capture_retry.py::test_an_unanswered_capture_is_repeated_with_its_own_key_and_never_started_again",
    ),
    Mutant(
        name="payment_never_retries_refused_capture",
        what="a refused capture is not tried again by schedule",
        rule="protocol 3.7: a refused capture is tried again until the order is cancelled",
        module="contexts.payments.service.checks",
        replace="captures.recapture(payment_id)",
        by="pass",
        caught_by="tests/payments/test_capture_retry.py::test_the_schedule_tries_later_and_later_until_the_order_is_cancelled",
    ),
    Mutant(
        name="payment_ignores_refunds_at_the_provider",
        what="what the provider refunded by itself is not known when the rest is refunded",
        rule="protocol 4.4: a refused refund accounts for the amounts of the provider",
        module="contexts.payments.service.processing",
        replace="return msgspec.structs.replace(response, amounts=_retrieve(provider, row).amounts)",
        by="return response",
        caught_by="tests/payments/test_money_moved.py::test_a_cancel_after_a_partial_refund_at_the_provider_refunds_only_the_rest",
    ),
    Mutant(
        name="payment_applies_outdated_amounts",
        what="a refund that is known already is booked again",
        rule="protocol 4.4: amounts are applied only if they are more than the known ones",
        module="contexts.payments.service.movements",
        replace="found = min(amounts.refunded - (refunded + failed - elsewhere), captured - refunded)",
        by="found = min(amounts.refunded, captured - refunded)",
        caught_by="tests/payments/test_money_moved.py::test_a_refund_at_the_provider_is_detected_booked_and_published",
    ),
    Mutant(
        name="sandbox_page_decides_on_get",
        what="showing the page of the provider approves the payment",
        rule="API: GET changes nothing",
        module="contexts.payments.rest.sandbox",
        replace="    state = _get_sandbox().describe(reference=reference)",
        by="""\
    _get_sandbox().approve(reference=reference)
    state = _get_sandbox().describe(reference=reference)""",
        caught_by="tests/payments/test_rest.py::test_the_page_of_the_sandbox_is_html_and_changes_nothing[approve]",
    ),
    Mutant(
        name="sandbox_redirects_to_strangers",
        what="the page of the sandbox sends customers to any address",
        rule="API: a return_url belongs to the shop or to a storefront that it knows",
        module="contexts.payments.rest.sandbox",
        replace="reads_alike and (is_known or host in _LOOPBACK_HOSTS)",
        by="reads_alike",
        caught_by="tests/payments/test_rest.py::test_a_return_url_of_a_stranger_is_refused_and_decides_nothing[https://evil.example/]",
    ),
    Mutant(
        name="sandbox_redirects_to_what_a_browser_reads_as_another_host",
        what="a backslash in a return_url sends customers to any address",
        rule="API: a return_url belongs to the shop or to a storefront that it knows",
        module="contexts.payments.rest.sandbox",
        replace="url_has_allowed_host_and_scheme(return_url, {url.netloc})",
        by="bool(host)",
        caught_by="tests/payments/test_rest.py::test_a_return_url_of_a_stranger_is_refused_and_decides_nothing",
    ),
    Mutant(
        name="payment_takes_any_currency",
        what="an amount in another currency than the shop's is authorized",
        rule="Money: an amount keeps its own currency from offer to ledger; a foreign one is refused",
        module="contexts.payments.service.operations",
        replace="if amount.currency != settings.CURRENCY:",
        by="if not amount.currency:",
        caught_by="tests/payments/test_authorize.py::test_an_amount_in_another_currency_is_refused_and_stored_nowhere",
    ),
    Mutant(
        name="bulk_refund_ignores_the_amount_that_was_shown",
        what="a confirmed refund pays back what is left, although another amount was confirmed",
        rule="Admin: what was confirmed is done, or nothing",
        module="contexts.payments.admin",
        replace="amount=Money(int(shown), currency) if int(shown) else None,",
        by="amount=None,",
        caught_by="tests/payments/test_admin.py::test_a_refund_meanwhile_makes_the_confirmed_amount_too_large",
    ),
    Mutant(
        name="capture_key_kept_without_a_capture",
        what="a request that could not start its capture keeps its key, and its repeat captures nothing",
        rule="protocol 5: there is no key without an effect",
        module="contexts.payments.service.captures",
        replace="        if row and key:",
        by="        if key:",
        caught_by="tests/payments/test_capture_retry.py::test_a_void_that_was_not_possible_keeps_no_key",
        fails_with="KeyError",
    ),
    Mutant(
        name="capture_of_a_part_takes_too_much",
        what="staff capture more than is left of what was authorized",
        rule="protocol 4.3: amounts only grow, up to what was authorized",
        module="contexts.payments.service.starts",
        replace="AND coalesce(%s, 0) <= amount - captured AND currency",
        by="AND coalesce(%s, 0) <= amount * 2 AND currency",
        caught_by="tests/payments/test_capture_retry.py::test_staff_capture_a_part_and_later_the_rest",
        fails_with="KeyError",
    ),
    Mutant(
        name="failed_refund_is_never_learned",
        what="a refund that the customer's bank returned stays made",
        rule="protocol 4.4: money that moves without us is accounted for",
        module="contexts.payments.service.failed_refunds",
        replace="if amounts is None or not amounts.failed_refunds or transition.status not in SETTLED_STATUSES:",
        by="if amounts is None or amounts.refunded >= 0:",
        caught_by="tests/payments/test_failed_refunds.py"
        "::test_a_refund_that_fails_later_is_booked_back_and_a_task_for_staff",
    ),
    Mutant(
        name="failed_refund_is_learned_again",
        what="a refund that is known as failed is booked back with each comparison",
        rule="protocol 4.4: a repeated response changes nothing",
        module="contexts.payments.service.failed_refunds",
        replace="if refund.status == RefundStatus.DONE:",
        by="if refund.status != RefundStatus.REFUSED:",
        caught_by="tests/payments/test_failed_refunds.py::test_a_failed_refund_is_learned_once",
    ),
    Mutant(
        name="failed_refund_of_a_cancelled_order_is_repeated",
        what="a refund that the bank returned is sent to the same bank again and again",
        rule="protocol 4.4: what the bank returned is a task for staff",
        module="contexts.payments.service.transitions",
        replace="REFUSED_REFUNDS = (StaffTask.REFUND_REFUSED, StaffTask.REFUND_FAILED)",
        by="REFUSED_REFUNDS = (StaffTask.REFUND_REFUSED,)",
        caught_by="tests/payments/test_failed_refunds.py"
        "::test_the_failed_refund_of_a_cancelled_order_is_refunded_again_only_by_staff",
    ),
    Mutant(
        name="payment_replaced_while_it_can_take_money",
        what="another attempt starts although the last one may still take the money",
        rule="protocol 4.1: the next attempt starts only when the last is over at the provider",
        module="contexts.payments.service.transitions",
        replace="if response.status in (ProviderStatus.CANCELLED, ProviderStatus.DECLINED):",
        by="if response.status != ProviderStatus.NOT_FOUND:",
        caught_by="tests/orders/test_pay_again.py::test_an_intent_that_was_captured_meanwhile_stays_the_payment",
    ),
    Mutant(
        name="second_attempt_ignores_its_key",
        what="a repeat with the same key starts another attempt",
        rule="protocol 5: a repeat has one effect",
        module="contexts.orders.service.paying",
        replace="is_new = attempt_id is None\n    if is_new:",
        by="is_new, attempt_id = True, None\n    if is_new:",
        caught_by="tests/orders/test_pay_again.py::test_a_repeat_with_the_same_key_starts_no_other_attempt",
    ),
    Mutant(
        name="new_secret_starts_a_second_attempt",
        what="a guest's request to pay again, which is repeated after a change of SECRET_KEY, charges again",
        rule="protocol 5: a key outlives a change of SECRET_KEY",
        module="contexts.orders.service.paying",
        replace="attempt_id = known.resource if known else None",
        by="attempt_id = uuid7() if known else None",
        caught_by="tests/orders/test_secret_rotation.py::test_a_guest_who_repeats_a_payment_after_the_rotation_is_charged_once",
    ),
    Mutant(
        name="decline_ends_an_order_on_hold",
        what="a mistyped card cancels a confirmed order that is on hold",
        rule="protocol 3.7: an order on hold can be paid again until it expires",
        module="contexts.payments.service.transitions",
        replace="    if row.capture_attempts:",
        by="    if row.capture_attempts < 0:",
        caught_by="tests/orders/test_pay_again.py"
        "::test_a_declined_card_leaves_an_order_on_hold_which_can_be_paid_again",
    ),
    Mutant(
        name="retry_is_audited_before_it_is_tried",
        what="the audit trail has a retry that a crash prevented",
        rule="Audit: an entry is written with the change, or after the request that it reports",
        module="contexts.payments.service.tasks",
        replace="""\
    processing.sync_payment(payment_id)
    retry_refund(payment_id, actor=actor)
""",
        by="""\
    retry_refund(payment_id, actor=actor)
    processing.sync_payment(payment_id)
""",
        caught_by="tests/payments/test_failed_refunds.py"
        "::test_what_staff_ask_of_the_provider_is_audited_when_it_was_asked",
    ),
    Mutant(
        name="disputed_amount_is_offered_for_a_refund",
        what="the page that asks whether to refund shows more than can be refunded",
        rule="Admin: a full refund refunds the amount that was shown",
        module="contexts.payments.admin",
        replace="    return row.refundable - row.pending",
        by="    return row.captured - row.refunded - row.pending",
        caught_by="tests/payments/test_admin.py::test_a_disputed_amount_is_not_offered_for_a_refund",
    ),
    Mutant(
        name="refunds_are_not_found_by_id",
        what="staff find no refund of an order by the order's id",
        rule="Admin: refunds and ledger entries are found by the ids of their payment and order",
        module="contexts.payments.admin",
        replace="return queryset.filter(Q(payment_id=found_id) | Q(payment__order_id=found_id)), False",
        by="return queryset.none(), False",
        caught_by="tests/payments/test_admin.py::test_a_refund_and_its_ledger_are_found_by_payment_order_or_number",
    ),
    Mutant(
        name="paying_a_cancelled_order_succeeds",
        what="the response to a payment is 200 although the order was cancelled meanwhile",
        rule="API: POST orders/{id}/payment is 200 only for an order that is confirmed or on hold",
        module="contexts.orders.service.paying",
        replace="    if order.status in ENDED_STATUSES:",
        by="    if order.status in ():",
        caught_by="tests/orders/test_pay_again.py::test_a_payment_that_meets_a_cancel_is_not_answered_with_success",
    ),
    Mutant(
        name="amount_of_a_payment_in_minor_units",
        what="the page of a payment says 1500 where the shop owes 15.00 EUR",
        rule="Admin: money is shown as people write it",
        module="contexts.payments.admin",
        replace='        "owed",\n',
        by="",
        caught_by="tests/payments/test_admin.py"
        "::test_a_page_of_a_payment_has_money_only_with_its_currency_and_no_token",
    ),
)
