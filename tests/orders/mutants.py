"""Bugs that the tests of this folder catch: `make mutants`."""

from tests.mutants.planted import Change, Mutant

MUTANTS = (
    Mutant(
        name="order_promised_by_relaxed_commit",
        what="the response reports an order that the server loses in a crash",
        rule="protocol 9.1: nothing leaves the server before a commit that has waited",
        module="contexts.orders.checkout.persistence",
        replace="WHERE id = %s AND attempt = %s AND {only_if}",
        by="WHERE id = %s AND attempt = %s AND {only_if} AND set_config('synchronous_commit', 'off', true) = 'off'",
        caught_by="tests/orders/test_checkout.py::test_calls_to_the_provider_and_the_response_follow_commits_on_the_disk",
    ),
    Mutant(
        name="intent_stored_by_relaxed_commit",
        what="the provider is called with an intent that the server loses in a crash",
        rule="protocol 9.1: nothing leaves the server before a commit that has waited",
        module="contexts.payments.service.persistence",
        replace='"attempt": "1",',
        by="""\
"attempt": "length(left(set_config('synchronous_commit', 'off', true), 1))",""",
        caught_by="tests/orders/test_checkout.py::test_calls_to_the_provider_and_the_response_follow_commits_on_the_disk",
    ),
    Mutant(
        name="orders_read_again_count_as_updated",
        what="refresh_order_payments reports updates at every run",
        rule="a command reports what it has changed",
        module="contexts.orders.service.order_payments",
        replace="""\
        if model_to_dict(row) == before:
            return False
""",
        by="",
        caught_by="tests/orders/test_payment_news.py::test_reading_payments_again_reports_what_was_read_and_what_has_changed",
    ),
    Mutant(
        name="linked_object_is_shown_twice",
        what="a page of the admin shows an id as a link, and again as a field of the form",
        rule="a page shows each value once",
        module="shop.admin.context_admin",
        replace="*({*self.amounts, *self.links} - {*self.editable})",
        by="*({*self.amounts} - {*self.editable})",
        caught_by="tests/orders/test_admin.py::test_the_customer_of_a_cart_is_shown_once_and_as_a_link",
    ),
    Mutant(
        name="refusal_is_shown_as_it_is_stored",
        what="staff read why an order was rejected as JSON with the code of the error",
        rule="pages speak to people",
        module="contexts.orders.admin",
        replace='return str(refusal) if refusal else "-"',
        by='return str(order.refusal) if refusal else "-"',
        caught_by="tests/orders/test_admin.py::test_the_page_of_a_rejected_order_explains_the_refusal_in_words",
    ),
    Mutant(
        name="page_of_an_order_without_its_refunds",
        what='the page of an order that was refunded in part shows staff "paid", and no refund',
        rule="refunds reach the order",
        module="contexts.orders.admin",
        replace='super().get_queryset(request).select_related("payment_summary")',
        by="super().get_queryset(request)",
        caught_by="tests/orders/test_payment_news.py::test_the_page_of_an_order_shows_staff_its_refunds",
    ),
    Mutant(
        name="errors_show_the_code_of_a_status",
        what="an error reports that an order is on_hold, or that a payment is requires_action",
        rule="errors speak to people",
        module="shop.errors",
        replace="self.words.get(str(fact), _as_text(fact))",
        by="_as_text(fact)",
        caught_by="tests/orders/test_pay_again.py::test_an_error_names_the_status_in_words[on_hold]",
    ),
    Mutant(
        name="page_that_shows_is_titled_as_a_form",
        what='the page of an order, on which nothing can be changed, is titled "Change order"',
        rule="a page is titled by what it shows",
        module="shop.admin.context_admin",
        replace="if obj and not self.can_save(request):",
        by="if obj and self.can_save(request):",
        caught_by="tests/orders/test_admin.py::test_the_page_of_an_order_is_titled_by_its_number",
    ),
    Mutant(
        name="holds_counted_without_lock",
        what="orders that are placed at the same moment hold more stock unpaid than the limit",
        rule="protocol 3.5: orders of the same key are counted one after the other",
        module="contexts.orders.checkout.holds",
        replace='        fetch_rows("orders", _LOCK_SQL, [subjects])\n',
        by="",
        caught_by="tests/orders/test_hold_limits.py::test_of_parallel_orders_no_more_than_the_limit_hold_stock",
    ),
    Mutant(
        name="hold_limit_ignored",
        what="three guests hold the whole stock without paying",
        rule="rate limits: stock that is held unpaid is limited",
        module="contexts.orders.checkout.runner",
        replace="        if not holds.is_counted(order):",
        by="        if True or not holds.is_counted(order):",
        caught_by="tests/orders/test_hold_limits.py::test_the_whole_stock_cannot_be_held_without_paying",
    ),
    Mutant(
        name="ended_orders_fill_the_hold_limit",
        what="a customer who has paid or cancelled some orders cannot order for a day",
        rule="protocol 3.5: what an order counts follows from its status",
        module="contexts.orders.checkout.holds",
        replace=" AND placed.id <> %(order_id)s AND placed.status = 'pending'",
        by=" AND placed.id <> %(order_id)s",
        caught_by="tests/orders/test_hold_limits.py::test_an_order_that_waits_no_longer_counts_no_longer",
    ),
    Mutant(
        name="units_of_holds_unlimited",
        what="one order holds any number of units unpaid",
        rule="rate limits: HOLD_LIMIT_UNITS",
        module="contexts.orders.checkout.holds",
        replace="WHERE coalesce(held.orders, 0) + 1 > most_orders OR coalesce(held.units, 0) + wanted.units > most_units)",
        by="WHERE coalesce(held.orders, 0) + 1 > most_orders)",
        caught_by="tests/orders/test_hold_limits.py::test_units_of_all_lines_count",
    ),
    Mutant(
        name="unpaid_stock_held_for_the_full_time",
        what="an order that nobody pays holds its stock for as long as one whose payment is under way",
        rule="protocol 3.5: the time to pay is short until the customer has acted",
        module="contexts.orders.checkout.pauses",
        replace="    return min(get_full_hold(), timedelta(seconds=settings.UNPAID_HOLD_SECONDS))",
        by="    return get_full_hold()",
        caught_by="tests/orders/test_hold_limits.py::test_stock_is_held_for_a_short_time_until_the_customer_acts",
    ),
    Mutant(
        name="customers_cart_open_to_others",
        what="whoever has the id of a customer's cart reads, changes and orders it",
        rule="API: a resource of another customer is reported as missing",
        module="contexts.orders.service.cart_rows",
        replace="AND (cart.user_id IS NULL OR cart.user_id = %(user_id)s)",
        by="AND (%(user_id)s::uuid IS NOT DISTINCT FROM %(user_id)s)",
        caught_by="tests/orders/test_cart_owners.py::test_a_customers_cart_does_not_exist_for_any_other_caller",
    ),
    Mutant(
        name="guests_share_cart_by_key",
        what="two guests who choose the same idempotency key get one cart",
        rule="protocol 5: the key of a guest's cart is in the scope of the client",
        module="contexts.orders.rest.carts",
        replace="            key = bind_to_client(key, request)",
        by="            pass",
        caught_by="tests/orders/test_cart_owners.py::test_two_guests_with_the_same_key_get_two_carts",
    ),
    Mutant(
        name="filled_cart_given_to_second_guest",
        what="a guest with the key of another one gets the cart that the other one has filled",
        rule="protocol 5: a guest's key returns a cart only as long as nothing was put into it",
        module="contexts.orders.rest.carts",
        replace="        if user_id is None and not carts.is_unused(",
        by="        if user_id is None and False and not carts.is_unused(",
        caught_by="tests/orders/test_cart_owners.py::test_a_guest_never_gets_a_cart_that_another_one_has_filled",
    ),
    Mutant(
        name="guest_token_in_keys_table",
        what="a copy of the table of idempotency keys opens the orders of all guests",
        rule="protocol 5: a stored response has no token",
        module="contexts.orders.service.views",
        replace="    return idempotency.encode_result(msgspec.structs.replace(to_view(order), token=None))",
        by="    return idempotency.encode_result(to_view(order))",
        caught_by="tests/orders/test_guest_tokens.py::test_the_token_of_a_guest_is_in_the_response_and_in_no_table",
    ),
    Mutant(
        name="order_email_looser_than_registration",
        what="an order takes an address whose normal form is none, such as one with a second @ in another script",
        rule="API: one rule decides for the e-mail addresses of orders and accounts",
        module="contexts.orders.service.placing",
        replace="        clean_customer_address(email)\n",
        by="",
        caught_by="tests/orders/test_bad_input.py::test_an_order_needs_an_email_address_that_mail_servers_accept",
    ),
    Mutant(
        name="sold_orders_deleted",
        what="an order that was paid is deleted as if it had been refused",
        rule="retention: only an order that was refused for what the quote showed is deleted",
        module="contexts.orders.models",
        replace="status = 'rejected' AND (refusal -> 'is_quoted') = 'true' AND NOT EXISTS (",
        by="NOT EXISTS (",
        caught_by="tests/orders/test_refused_order_retention.py::test_other_orders_are_kept",
    ),
    Mutant(
        name="key_of_deleted_order_kept",
        what="the key of a deleted order is kept, so that a repeat of its request finds an order that does not exist",
        rule="protocol 5: a key is kept as long as the row that its request created",
        module="shop.purging",
        replace="    if rule.policy.with_keys:\n",
        by="    if False:\n",
        caught_by="tests/orders/test_refused_order_retention.py::test_an_order_that_was_refused_at_once_is_deleted_after_a_month_with_its_lines_and_its_key",
    ),
    Mutant(
        name="large_orders_unlimited",
        what="one client fills the disk with orders of a thousand lines that are refused",
        rule="rate limits: RATE_LIMIT_LARGE_ORDERS counts orders with more than 20 lines, whatever becomes of them",
        module="contexts.orders.service.orders",
        replace="            limiter.count_also(LARGE_ORDERS, key)",
        by="            pass",
        caught_by="tests/orders/test_rate_limits.py::test_large_orders_are_limited_whether_they_are_sold_or_refused",
    ),
    Mutant(
        name="used_cart_deleted",
        what="a cart that its customer still changes is deleted",
        rule="retention: a cart is kept for a time after its last change",
        module="contexts.orders.service.cart_rows",
        replace="SET version = version + 1, changed_at = now(), currency",
        by="SET version = version + 1, currency",
        caught_by="tests/orders/test_cart_retention.py::test_a_change_of_a_cart_keeps_it",
    ),
    Mutant(
        name="order_with_undeliverable_email_address",
        what="an order is placed with an address that no mail server accepts, so its mails are lost",
        rule="API: an order needs an e-mail address; one rule decides for orders, accounts and mails",
        module="contexts.orders.service.placing",
        replace="_validate_email(request.email) if request.email else",
        by="request.email or",
        caught_by="tests/orders/test_bad_input.py::test_an_order_needs_an_email_address_that_mail_servers_accept",
    ),
    Mutant(
        name="cart_accepts_more_than_can_be_bought",
        what="a cart takes more units than can be bought",
        rule="API: PUT above what can be bought is 409 out_of_stock",
        module="contexts.orders.service.carts",
        replace="if quantity > offer.available:",
        by="if quantity > offer.available + 10_000:",
        caught_by="tests/orders/test_cart_prices.py::test_more_than_can_be_bought_is_refused_with_the_available_units",
    ),
    Mutant(
        name="cart_changes_after_its_order",
        what="a change that waited for an order of the cart is made to the cart of that order",
        rule="protocol 3.9: a live order closes its cart",
        module="contexts.orders.service.cart_rows",
        replace="""\
    WHERE id = %(cart_id)s AND version = %(version)s RETURNING id),
deleted""",
        by="""\
    WHERE id = %(cart_id)s RETURNING id),
deleted""",
        caught_by="tests/orders/test_closed_carts.py::test_a_change_that_waits_for_an_order_of_the_cart_is_refused",
    ),
    Mutant(
        name="cart_write_ignores_concurrent_change",
        what="an item is put into a cart that was ordered after the cart was read",
        rule="protocol 3.9: a live order closes its cart",
        module="contexts.orders.service.cart_rows",
        replace="""\
    WHERE id = %(cart_id)s AND version = %(version)s RETURNING id)
INSERT""",
        by="""\
    WHERE id = %(cart_id)s RETURNING id)
INSERT""",
        caught_by="tests/orders/test_cart_changes.py::test_an_item_put_into_a_cart_that_is_ordered_meanwhile_is_refused",
    ),
    Mutant(
        name="cart_write_overtaken_is_reported_as_made",
        what="a change of a cart that another one overtook is confirmed, but never made",
        rule="nothing that was acknowledged is lost",
        module="contexts.orders.service.cart_rows",
        replace="""\
    if not execute("orders", _SET_ITEM, parameters):
        return None
""",
        by="""\
    execute("orders", _SET_ITEM, parameters)
""",
        caught_by="tests/orders/test_cart_changes.py::test_changes_of_a_cart_at_the_same_time_are_all_made",
    ),
    Mutant(
        name="cart_write_forgets_a_line",
        what="the response to a change of a cart has only the item that was changed",
        rule="API: PUT carts/{id}/items/{sku} returns the cart",
        module="contexts.orders.service.cart_rows",
        replace="items = {one.sku: one for one in cart.items} | {item.sku: item}",
        by="items = {item.sku: item}",
        caught_by="tests/orders/test_cart_changes.py::test_the_response_to_a_change_is_the_cart_as_it_is_stored",
    ),
    Mutant(
        name="cart_write_keeps_the_former_quantity",
        what="the quantity of an item that is in the cart already is confirmed, but not stored",
        rule="nothing that was acknowledged is lost",
        module="contexts.orders.service.cart_rows",
        replace="DO UPDATE SET quantity = excluded.quantity, seen_price",
        by="DO UPDATE SET seen_price",
        caught_by="tests/orders/test_cart_changes.py::test_the_response_to_a_change_is_the_cart_as_it_is_stored",
    ),
    Mutant(
        name="cart_grows_over_its_limit",
        what="a cart takes one SKU more than the limit when two are put into it at the same time",
        rule="API: a cart holds up to MAX_CART_ITEMS SKUs",
        module="contexts.orders.service.carts",
        replace="""\
    while True:
        cart = cart_rows.read(cart_id, user_id)
        offers = _fetch_offers(cart, sku)
        offer = _require_offer(offers, sku)
        cart = _require_open(cart, user_id)""",
        by="""\
    first = cart_rows.read(cart_id, user_id)
    while True:
        cart = cart_rows.read(cart_id, user_id)
        offers = _fetch_offers(cart, sku)
        offer = _require_offer(offers, sku)
        cart = _require_open(cart, user_id)._replace(items=first.items)""",
        caught_by="tests/orders/test_cart_changes.py::test_the_last_place_in_a_cart_is_taken_once",
    ),
    Mutant(
        name="cart_hides_price_change",
        what="a changed price is charged unseen",
        rule="API: a cart lists what changed",
        module="contexts.orders.service.carts",
        replace="seen_price=offer.price.amount)",
        by="seen_price=None)",
        caught_by="tests/orders/test_cart_prices.py::test_a_cart_lists_the_items_whose_price_changed_since_they_were_set",
    ),
    Mutant(
        name="cart_order_competes_with_itself",
        what="a second try of a cart is out of stock because of the reservation of its own pending order",
        rule="protocol 3.9: a live order closes its cart",
        module="contexts.orders.service.carts",
        replace="""\
    cart = _require_open(cart_rows.read(cart_id, user_id), user_id)
    items = [""",
        by="""\
    cart = cart_rows.read(cart_id, user_id)
    if cart is None:
        raise CartNotFound
    items = [""",
        caught_by="tests/orders/test_closed_carts.py::test_a_second_try_while_the_first_order_is_pending_is_not_out_of_stock",
    ),
    Mutant(
        name="cart_order_competes_with_undone_order",
        what="an order is rejected for lack of stock that an ended order of the same cart still holds",
        rule="protocol 3.9: a live order closes its cart",
        module="contexts.orders.service.placing",
        replace="""\
        _assert_not_held_by_last_order(request.cart_id)
""",
        by="",
        caught_by="tests/orders/test_closed_carts.py::test_stock_that_the_last_order_of_the_cart_still_holds_is_not_out_of_stock",
    ),
    Mutant(
        name="cart_ordered_by_each_tab",
        what="tabs that order a cart at once make orders that are rejected",
        rule="protocol 3.9: the transaction that creates the order checks the version of the cart",
        module="contexts.orders.service.cart_rows",
        replace='version = version + 1 WHERE id = %s AND version = %s"',
        by='version = version + 1 WHERE id = %s AND %s IS NOT NULL"',
        caught_by="tests/orders/test_closed_carts.py::test_a_tab_that_read_the_cart_before_it_was_ordered_makes_no_rejected_order",
    ),
    Mutant(
        name="double_click_meets_its_own_order",
        what="the second click on an order of a cart is refused because the first one has ordered the cart",
        rule="protocol 5: the same key gets the same response",
        module="contexts.orders.service.orders",
        replace="    except DomainError as refusal:",
        by="    except idempotency.IdempotencyKeyInFlight as refusal:",
        caught_by="tests/orders/test_closed_carts.py::"
        "test_a_double_click_of_which_the_first_orders_the_cart_gets_its_response_twice",
    ),
    Mutant(
        name="double_click_pays_what_is_paid",
        what="the second click on a payment is refused because the first one has paid the order",
        rule="protocol 5: while the first request is in progress, a repeat is asked to wait",
        module="contexts.orders.service.paying",
        replace="""\
        idempotency.record("orders", key, resource=attempt_id)  # first: a repeat is no attempt to pay a paid order
        payable = Order.objects.filter(pk=order_id, status__in=PAYABLE_STATUSES, cancel_requested_at=None)
        if not payable.update(payment_provider=request.payment_method.provider):
            raise NotPayable(present=orders.get(order_id).status)
""",
        by="""\
        payable = Order.objects.filter(pk=order_id, status__in=PAYABLE_STATUSES, cancel_requested_at=None)
        if not payable.update(payment_provider=request.payment_method.provider):
            raise NotPayable(present=orders.get(order_id).status)
        idempotency.record("orders", key, resource=attempt_id)
""",
        caught_by="tests/orders/test_pay_again.py::"
        "test_a_double_click_of_which_the_first_pays_the_order_is_no_second_payment",
    ),
    Mutant(
        name="cart_reveals_order_number",
        what="a caller with the id of a cart gets the number of its order",
        rule="API: the number of an order is for its customer",
        module="contexts.orders.service.carts",
        replace="order_number=order.number if is_customer else None",
        by="order_number=order.number",
        caught_by="tests/orders/test_closed_carts.py::test_only_the_customer_of_the_order_gets_its_number",
    ),
    Mutant(
        name="cart_sells_what_is_not_for_sale",
        what="an item that is no longer for sale looks as if it were",
        rule="API: a cart shows what is no longer for sale as unavailable",
        module="contexts.orders.service.carts",
        replace="return offer is not None and offer.for_sale and offer.price.currency == currency",
        by="return offer is not None and offer.price.currency == currency",
        caught_by="tests/orders/test_cart_prices.py::test_what_is_no_longer_for_sale_is_shown_as_unavailable_and_costs_nothing",
    ),
    Mutant(
        name="customer_cancels_for_ever",
        what="a customer cancels a confirmed order long after it was placed",
        rule="API: cancel within CANCEL_WINDOW",
        module="contexts.orders.service.cancellation",
        replace="""\
    return condition & (~Q(status=OrderStatus.CONFIRMED) | is_in_window)
""",
        by="""\
    return condition & (~Q(status=OrderStatus.CONFIRMED) | is_in_window | Q(created_at__gt=Now() - timedelta(days=9)))
""",
        caught_by="tests/orders/test_cancel_window.py::test_a_customer_cancels_a_confirmed_order_within_the_window_only",
    ),
    Mutant(
        name="expected_total_ignored",
        what="an order is placed although its total is not the one that the customer saw",
        rule="API: 409 price_changed",
        module="contexts.orders.service.placing",
        replace="if expected_total and (expected := Money(expected_total.amount, expected_total.currency)) != totals.total:",
        by="if (expected := totals.total) != totals.total:",
        caught_by="tests/orders/test_cart_prices.py::test_a_total_that_is_not_the_expected_one_is_refused_and_nothing_is_stored",
    ),
    Mutant(
        name="bulk_cancel_counts_cancelled_orders",
        what="a bulk cancel says that it cancels orders which were cancelled before they were selected",
        rule="Admin: the summary of a bulk action says what it did",
        module="contexts.orders.admin",
        replace="    if status and status not in Order.CANCELLABLE_STATUSES:\n",
        by="    if status and status == Order.CANCELLABLE_STATUSES:\n",
        caught_by="tests/orders/test_admin.py::"
        "test_an_order_that_was_cancelled_before_it_was_selected_is_reported_as_failed",
    ),
    Mutant(
        name="lookup_ignores_address",
        what="the number of an order alone has its link sent",
        rule="API: orders/lookup takes number and e-mail address",
        module="contexts.orders.service.lookup",
        replace="order_id = order.id if order and is_match else None",
        by="order_id = order.id if order else None",
        caught_by="tests/orders/test_lookup.py::test_a_lookup_that_matches_no_order_gets_the_same_response_and_sends_no_mail",
    ),
    Mutant(
        name="lookup_reveals_by_its_work",
        what="the time of a lookup shows whether there is such an order",
        rule="API: no enumeration",
        module="contexts.orders.service.lookup",
        replace="""\
    with transaction("orders"):
""",
        by="""\
    if order_id is None:
        return
    with transaction("orders"):
""",
        caught_by="tests/orders/test_lookup.py::test_a_lookup_that_matches_no_order_executes_the_same_statements",
    ),
    Mutant(
        name="order_key_purged",
        what="the key of an order is deleted, so that a repeat is a second order and charge",
        rule="protocol 5: the key of an order is kept as long as the order",
        module="shop.models",
        replace='condition="resource IS NULL"',
        by='condition="true"',
        caught_by="tests/orders/test_keys_live_with_orders.py::test_an_order_repeated_after_a_month_is_the_same_order",
    ),
    Mutant(
        name="cancel_does_not_wake_lease_holder",
        what="a cancel whose requester dies is not seen by the worker that holds the lease",
        rule="protocol 3.4: cancel sets its flag and wakes the saga",
        module="contexts.orders.service.orders",
        replace="cancel_requested_at=Now(), due_at=Now(), woken=True",
        by="cancel_requested_at=Now(), due_at=Now()",
        caught_by="tests/orders/test_races.py::test_a_cancel_whose_requester_died_is_carried_out_by_the_holder",
    ),
    Mutant(
        name="cancel_writes_status_without_lease",
        what="a cancel changes an order while another worker holds its lease",
        rule="protocol 3.4: only the lease holder changes step or status",
        module="contexts.orders.service.orders",
        replace="cancel_requested_at=Now(), due_at=Now(), woken=True",
        by='cancel_requested_at=Now(), due_at=Now(), woken=True, status="cancelled", step="undo_money"',
        caught_by="tests/orders/test_interleavings.py::test_a_cancel_only_records_the_request_while_a_worker_holds_the_lease",
    ),
    Mutant(
        name="key_stored_outside_order_transaction",
        what="an order that could not be placed has used up its key",
        rule="protocol 5: the key row is written in the transaction of its effect",
        module="contexts.orders.service.orders",
        replace="""\
        with transaction("orders"):
            idempotency.record_or_abort("orders", key, resource=new.order.id)""",
        by="""\
        with transaction("orders"):
            idempotency.record_or_abort("orders", key, resource=new.order.id)
        with transaction("orders"):""",
        caught_by="tests/orders/test_repeats.py::test_an_order_whose_cart_changed_while_it_was_placed_keeps_no_key",
    ),
    Mutant(
        name="outcome_of_key_replaced",
        what="the response to a request changes between its repeats",
        rule="protocol 5: a final response is stored and does not change",
        module="shop.http.idempotency",
        replace="WHERE scope = ANY(%s) AND key = %s AND status IS NULL",
        by="WHERE scope = ANY(%s) AND key = %s",
        caught_by="tests/orders/test_repeats.py::"
        "test_the_first_outcome_of_a_key_stays_though_the_order_went_on_meanwhile",
    ),
    Mutant(
        name="key_not_stored_with_its_order",
        what="a repeated request places a second order",
        rule="protocol 5: the key row is written in the transaction of its effect",
        module="contexts.orders.service.orders",
        replace="""\
            idempotency.record_or_abort("orders", key, resource=new.order.id)
""",
        by="""\
            if new.order.is_final:
                idempotency.record_or_abort("orders", key, resource=new.order.id)
""",
        caught_by="tests/orders/test_repeats.py::"
        "test_the_second_click_on_an_order_of_items_gets_the_response_to_the_first[tok_requires_action-202]",
    ),
    Mutant(
        name="key_of_the_former_secret_is_overlooked",
        what="a request that is repeated after a change of SECRET_KEY places a second order",
        rule="protocol 5: during a change of SECRET_KEY a key is stored under each secret",
        module="shop.http.idempotency",
        replace="rows=len(key.fingerprints))",
        by="rows=1)",
        caught_by="tests/orders/test_secret_rotation.py::test_a_request_repeated_after_the_rotation_is_the_same_order",
    ),
    Mutant(
        name="repeat_refused_like_a_new_order",
        what="a client that lost the response to its order is told that the goods are not for sale",
        rule="protocol 5: the same key gets the same response",
        module="contexts.orders.service.orders",
        replace="    except DomainError as refusal:",
        by="    except (idempotency.IdempotencyKeyInFlight, carts.CartClosed) as refusal:",
        caught_by="tests/orders/test_repeats.py::"
        "test_a_repeat_gets_its_response_though_the_sku_is_sold_out_or_off_sale_now",
    ),
    Mutant(
        name="order_response_after_rollback",
        what="a response is sent although the transaction that stores it was rolled back",
        rule="protocol 5: a final response is stored and does not change",
        module="contexts.orders.service.orders",
        replace="""\
                else:
                    reload_cancel_request(order)""",
        by="""\
                else:
                    return build_outcome(order)""",
        caught_by="tests/orders/test_interleavings.py::test_a_worker_that_lost_its_lease_returns_the_result_of_its_successor",
    ),
    Mutant(
        name="saga_cancel_skips_undo_of_running_step",
        what="a cancelled order keeps the authorization of an authorize call whose response was lost",
        rule="protocol 3.3: undo starts with the step that was named before it was called",
        module="contexts.orders.checkout.runner",
        replace='cancel(order, "requested", "The order was cancelled.", undo_step=UNDO_EVERYTHING)',
        by="""\
cancel(
            order,
            "requested",
            "The order was cancelled.",
            undo_step=UNDO_EVERYTHING if order.payment_id else Step.UNDO_STOCK,
        )""",
        caught_by="tests/orders/test_interleavings.py::test_a_cancel_voids_a_payment_unknown_to_the_order",
    ),
    Mutant(
        name="saga_confirms_despite_cancel",
        what="an order is confirmed though its cancel was requested before",
        rule="protocol 3.4: the confirm step has AND cancel_requested_at IS NULL, and a woken order keeps its lease",
        module="contexts.orders.checkout.persistence",
        replace='only_if=f"NOT woken AND {pause.only_if}"',
        by='only_if="true"',
        caught_by="tests/orders/test_interleavings.py::test_a_cancel_before_the_confirmation_wins",
    ),
    Mutant(
        name="set_forgets_the_traces_of_its_orders",
        what="what a request caused cannot be found by its id: OrderPaid has the id of the timer",
        rule="ADR 28: the events of a set continue the traces of their orders",
        module="contexts.orders.service.capturing",
        replace=", trace=traces.get(_get_stream(order))",
        by="",
        caught_by="tests/orders/test_capture_sets.py::test_the_events_of_a_set_continue_the_traces_of_their_orders",
    ),
    Mutant(
        name="verifier_lets_orders_wait_for_their_capture",
        what="no check reports that orders are not captured, although their timer runs",
        rule="docs/invariants.md: order_comes_to_rest",
        module="contexts.orders.invariants",
        replace="step NOT IN ('authorizing', 'done', 'closed') THEN",
        by="step NOT IN ('authorizing', 'capturing', 'done', 'closed') THEN",
        caught_by="tests/ops/verify/test_under_traffic.py::test_an_order_may_wait_for_its_capture_for_the_grace_period_only",
    ),
    Mutant(
        name="set_marks_order_of_another_worker_paid",
        what="a set writes to an order that another worker has taken over",
        rule="protocol 3.10: each write of a set is fenced",
        module="contexts.orders.service.capturing",
        replace="ON placed.id = given.id AND placed.attempt = given.attempt",
        by="ON placed.id = given.id",
        caught_by="tests/orders/test_capture_sets.py::test_a_set_writes_nothing_to_an_order_that_another_worker_has_taken_over",
    ),
    Mutant(
        name="set_ignores_cancel",
        what="an order that is cancelled while its set captures ends as paid",
        rule="protocol 3.10: a set leaves alone what was woken",
        module="contexts.orders.service.capturing",
        replace="WHERE NOT placed.woken ORDER BY",
        by="ORDER BY",
        caught_by="tests/orders/test_capture_sets.py::test_an_order_cancelled_while_its_set_captures_is_refunded",
    ),
    Mutant(
        name="set_takes_cancelled_order",
        what="a set captures a payment although the cancel of its order was requested before",
        rule="protocol 3.10: a set takes no order of which a cancel is wanted",
        module="contexts.orders.service.capturing",
        replace=" AND cancel_requested_at IS NULL",
        by="",
        caught_by="tests/orders/test_capture_sets.py::test_a_set_takes_no_order_whose_cancel_was_requested",
    ),
    Mutant(
        name="order_is_in_a_second_set",
        what="the orders of a set whose process died are taken by the next set, which may die of the same one",
        rule="protocol 3.10: an order is in one set at most",
        module="contexts.orders.service.capturing",
        replace="AND lease_until IS NULL AND tries",
        by="AND (lease_until IS NULL OR lease_until <= now()) AND tries",
        caught_by="tests/orders/test_capture_sets.py::test_the_orders_of_a_set_whose_process_died_go_on_alone",
    ),
    Mutant(
        name="set_keeps_leases_of_unfinished_orders",
        what="orders that a set could not finish wait until its leases expire",
        rule="protocol 3.10: a slow call keeps no lease of another order",
        module="contexts.orders.service.capturing",
        replace="        _release([order for order in orders if order.id not in paid])\n",
        by="",
        caught_by="tests/orders/test_capture_sets.py::test_after_a_slow_call_the_rest_of_a_set_goes_on_alone",
    ),
    Mutant(
        name="set_marks_refused_capture_paid",
        what="an order whose capture was refused is marked as paid with its set",
        rule="protocol 3.7: only a captured order is paid",
        module="contexts.orders.checkout.steps.capture",
        replace="return payment.status in CAPTURED_STATUSES and is_complete",
        by="return True",
        caught_by="tests/orders/test_capture_sets.py::test_a_refused_capture_puts_its_order_on_hold_and_no_other",
    ),
    Mutant(
        name="saga_expiry_skips_undo_of_running_step",
        what="an order that was not paid in time leaves its payment open",
        rule="protocol 3.3: undo starts with the step that was named before it was called",
        module="contexts.orders.checkout.steps.authorize",
        replace="reject(order, Expired(), undo_step=undo_step)",
        by='reject(order, Expired(), undo_step="undo_stock")',
        caught_by="tests/orders/test_checkout.py::test_an_unpaid_order_expires_money_first_stock_second",
    ),
    Mutant(
        name="saga_expires_paid_order",
        what="an order that was paid in time is rejected as expired",
        rule="protocol 3.5: look at the payment, then confirm, or cancel the payment and after that release",
        module="contexts.orders.checkout.steps.authorize",
        replace="    if payment and payment.status in AUTHORIZED_STATUSES:",
        by="    if payment and payment.status not in AUTHORIZED_STATUSES and payment.is_undone:",
        caught_by="tests/orders/test_races.py::test_an_order_paid_before_expiry_is_confirmed",
    ),
    Mutant(
        name="saga_releases_stock_before_payment_is_final",
        what="stock is sold to another customer while the money for it may still be taken",
        rule="protocol 3.6: money first, stock second; undo is retried without limit",
        module="contexts.orders.checkout.steps.authorize",
        replace="""\
        if payment.status not in FINAL_PAYMENT_STATUSES and not payment.is_undone:
            return schedule_retry(order, f"payment is {payment.status}")
""",
        by="",
        caught_by="tests/orders/test_interleavings.py::test_stock_is_kept_until_the_money_is_settled",
    ),
    Mutant(
        name="saga_gives_up_on_an_outage",
        what="an order is rejected because a context could not be reached",
        rule="protocol 1.2: Unavailable is neither success nor failure: stay on the step, try again",
        module="contexts.orders.checkout.runner",
        replace="    except Unavailable as error:",
        by="""\
    except Unavailable as error:
        reserve.on_refused(order, error, UNDO_EVERYTHING)""",
        caught_by="tests/orders/test_races.py::test_an_order_waits_while_the_inventory_database_is_down",
    ),
    Mutant(
        name="lease_released_despite_wake_up",
        what="the holder releases its lease without reading what was requested meanwhile",
        rule="protocol 3.2: the holder releases its lease only WHERE NOT woken",
        module="contexts.orders.checkout.persistence",
        replace='only_if=f"NOT woken AND {pause.only_if}"',
        by="only_if=pause.only_if",
        caught_by="tests/orders/test_races.py::test_a_cancel_whose_requester_died_is_carried_out_by_the_holder",
    ),
    Mutant(
        name="saga_is_not_fenced",
        what="a worker that lost its lease writes its old state over the order",
        rule="protocol 3.1: every write of saga and order has WHERE attempt = mine",
        module="contexts.orders.checkout.persistence",
        replace='sql = f"UPDATE orders_order SET {names} WHERE id = %s AND attempt = %s AND {only_if}"',
        by='sql = f"UPDATE orders_order SET {names} WHERE id = %s AND attempt >= %s AND {only_if}"',
        caught_by="tests/orders/test_interleavings.py::test_a_worker_paused_while_others_continued_does_not_write_stale_data",
    ),
    Mutant(
        name="saga_keeps_stock_after_decline",
        what="the stock of an order stays reserved after its payment was declined",
        rule="protocol 7: authorizing, on a definite decline, rejected via undo_stock",
        module="contexts.orders.checkout.steps.authorize",
        replace="reject(order, refusal, undo_step=undo_step)",
        by='reject(order, refusal, undo_step="closed")',
        caught_by="tests/orders/test_checkout.py::test_a_declined_payment_releases_the_stock",
    ),
    Mutant(
        name="saga_rejects_unknown_payment_outcome",
        what="an order is rejected because the payment provider did not answer",
        rule="protocol 1.2: Unavailable is neither success nor failure",
        module="contexts.orders.checkout.steps.authorize",
        replace='ACTED_STATUSES = ("processing", "unknown")',
        by='ACTED_STATUSES = ("processing",)',
        caught_by="tests/orders/test_checkout.py::test_an_unknown_outcome_waits_and_is_never_charged_twice",
    ),
    Mutant(
        name="sweep_waits_for_locked_rows",
        what="one locked order stops the sweep of all others",
        rule="protocol 3.2: timers and sweepers only try to take the lease",
        module="shop.db.leases",
        replace='ORDER BY due_at LIMIT %s FOR UPDATE SKIP LOCKED"""',
        by='ORDER BY due_at LIMIT %s FOR UPDATE"""',
        caught_by="tests/orders/test_races.py::test_a_locked_order_does_not_block_the_sweep",
    ),
    Mutant(
        name="declined_cards_are_counted_afterwards",
        what="many cards that are tried at the same time all reach the provider",
        rule="rate limits: declined payments are counted before the provider is called",
        module="contexts.orders.service.orders",
        replace="        limiter.count(key)\n",
        by="",
        caught_by="tests/orders/test_rate_limits.py::test_of_parallel_declined_cards_no_more_than_the_limit_reach_the_provider",
        also=(
            Change(
                "contexts.orders.service.orders",
                """\
        if is_declined:
            limiter.fail()
        else:
            limiter.release()
""",
                """\
        if is_declined:
            limiter.count()
            limiter.fail()
""",
            ),
        ),
    ),
    Mutant(
        name="paid_orders_count_as_declined",
        what="a customer with several paid orders cannot order any more",
        rule="rate limits: only declined payments use up their quota",
        module="contexts.orders.service.orders",
        replace="""\
        if is_declined:
            limiter.fail()
        else:
            limiter.release()
""",
        by="""\
        limiter.fail()
""",
        caught_by="tests/orders/test_rate_limits.py::test_paid_and_waiting_orders_do_not_count_as_declined",
    ),
    Mutant(
        name="later_decline_is_not_counted",
        what="cards are tested with payments that the provider declines after the response, without limit",
        rule="rate limits: a payment that is declined after the response counts as declined",
        module="contexts.orders.service.orders",
        replace="if subjects and progress.order is order and _take_decline(order, was_on_hold=was_on_hold):",
        by="if False:",
        caught_by="tests/orders/test_rate_limits.py::"
        "test_a_payment_that_is_declined_after_the_response_counts_once_for_every_key",
    ),
    Mutant(
        name="repeated_payment_counts_as_another_decline",
        what="a client that repeats a declined request after a lost response is taken for a card tester",
        rule="rate limits: a repeat with the same key is not counted",
        module="contexts.orders.service.paying",
        replace="if is_declined and is_new:",
        by="if is_declined:",
        caught_by="tests/orders/test_rate_limits.py::test_a_card_that_is_declined_when_an_order_is_paid_again_counts_once",
    ),
    Mutant(
        name="parallel_orders_are_taken_for_card_testing",
        what="a customer with many orders at the same time is refused, although no payment was declined",
        rule="rate limits: while attempts under way fill a quota of failures, a request waits for their outcomes",
        module="shop.http.rate_limits",
        replace="if not is_busy or time.monotonic() > deadline:",
        by="if True:",
        caught_by="tests/orders/test_rate_limits.py::"
        "test_by_default_many_parallel_orders_of_one_customer_are_no_card_testing",
    ),
    Mutant(
        name="answered_refusal_sends_mail",
        what="each declined card sends a mail to the address that the request names",
        rule="a refusal in the response causes no message",
        module="contexts.notifications.handlers",
        replace="""\
    if event.is_answered:
        return
""",
        by="",
        caught_by="tests/orders/test_rate_limits.py::test_an_order_that_was_refused_in_the_response_sends_no_mail",
    ),
    Mutant(
        name="saga_expires_without_asking_provider",
        what="an order that was paid in time is rejected because the news of the payment was lost",
        rule="protocol 3.5: no order is rejected for lack of payment before its provider was asked",
        module="contexts.orders.checkout.steps.authorize",
        replace="payment = payments.sync(order_id=order.id)",
        by="payment = next(iter(payments.of_orders(order_ids=(order.id,))), None)",
        caught_by="tests/orders/test_payment_news.py::test_an_order_that_was_paid_in_time_is_confirmed_although_the_news_was_lost",
    ),
    Mutant(
        name="saga_cancels_on_hold_without_asking_provider",
        what="an order on hold is cancelled although its money was captured after all",
        rule="protocol 3.5: no order is rejected for lack of payment before its provider was asked",
        module="contexts.orders.checkout.steps.capture",
        replace="payment = payments.sync(order_id=order.id)",
        by="payment = next(iter(payments.of_orders(order_ids=(order.id,))), None)",
        caught_by="tests/orders/test_payment_news.py::test_an_order_on_hold_is_not_cancelled_when_the_money_was_captured_after_all",
    ),
    Mutant(
        name="saga_expires_while_provider_is_silent",
        what="an order is rejected although its provider could not be asked",
        rule="protocol 3.5: if the provider cannot be asked, the order waits",
        module="contexts.payments.service.processing",
        replace="    if not answers:",
        by="    if not answers and not row:",
        caught_by="tests/orders/test_payment_news.py::test_an_order_does_not_expire_while_the_provider_cannot_be_asked",
    ),
    Mutant(
        name="refused_refund_keeps_checkout_open",
        what="a cancelled order whose refund is refused waits for ever, and keeps its stock",
        rule="protocol 4.4: a refund that cannot be made is a task for staff, and the checkout ends",
        module="contexts.orders.checkout.steps.authorize",
        replace="if payment.status not in FINAL_PAYMENT_STATUSES and not payment.is_undone:",
        by="if payment.status not in FINAL_PAYMENT_STATUSES:",
        caught_by="tests/orders/test_payment_news.py::test_a_cancel_whose_refund_is_refused_ends_and_is_a_task_for_staff",
    ),
    Mutant(
        name="order_ignores_refunds",
        what="a refund does not reach the order",
        rule="protocol 8.2: orders reads the payment again when payments publishes a refund",
        module="contexts.orders.handlers",
        replace="""\
    \"\"\"Record a refund with the order, whether staff, a cancellation or the provider made it.\"\"\"
    order_payments.refresh(event.order_id)""",
        by="""\
    \"\"\"Record a refund with the order, whether staff, a cancellation or the provider made it.\"\"\"\
""",
        caught_by="tests/orders/test_payment_news.py::test_a_partial_refund_reaches_the_order_and_its_customer",
    ),
    Mutant(
        name="second_refund_is_not_mailed",
        what="a customer is notified of the first refund of an order only",
        rule="the customer is notified of each refund",
        module="contexts.notifications.handlers",
        replace="occurrence=str(event.refund_id),",
        by='occurrence="",',
        caught_by="tests/orders/test_payment_news.py::test_each_refund_is_mailed_once_and_the_last_one_makes_the_order_refunded",
    ),
    Mutant(
        name="order_relabels_foreign_offers",
        what="an order takes the numbers of an offer in another currency as its own",
        rule="Money: an amount keeps its own currency from offer to ledger; a foreign one is refused",
        module="contexts.orders.service.placing",
        replace="""\
    for offer in offers.values():
        require_currency(offer, cart.currency)
        require_currency(offer, settings.CURRENCY)
""",
        by="",
        also=(
            Change(
                "contexts.orders.service.placing",
                "sum_amounts((Money(line.total, line.currency) for line in lines), order.currency)",
                "sum_amounts((Money(line.total, order.currency) for line in lines), order.currency)",
            ),
        ),
        caught_by="tests/orders/test_currency.py::test_an_order_in_another_currency_is_refused_and_stores_nothing",
    ),
    Mutant(
        name="cart_forgets_its_currency",
        what="a cart takes offers in any currency",
        rule="docs/deploy.md: a cart keeps its currency",
        module="contexts.orders.service.carts",
        replace="        require_currency(offer, get_currency(cart.currency))\n",
        by="",
        caught_by="tests/orders/test_currency.py::test_the_currency_of_a_cart_is_fixed_when_it_is_made",
    ),
    Mutant(
        name="email_longer_than_its_column",
        what="an e-mail address that the API accepts does not fit its column, and the answer is a 500",
        rule="API: sizes of the API and of columns come from one place",
        module="shop.sizes",
        replace="EMAIL_LENGTH = 254 ",
        by="EMAIL_LENGTH = 320 ",
        caught_by="tests/orders/test_bad_input.py::test_an_email_is_as_long_as_its_column",
    ),
    Mutant(
        name="line_name_shorter_than_its_offer",
        what="a product with a long name can be seen and not ordered",
        rule="API: sizes of the API and of columns come from one place",
        module="shop.sizes",
        replace='OFFER_NAME_LENGTH = PRODUCT_NAME_LENGTH + len(", ") + VARIANT_NAME_LENGTH',
        by="OFFER_NAME_LENGTH = 500",
        caught_by="tests/architecture/test_models.py::test_no_migration_is_missing",
        fails_with="SystemExit",
    ),
    Mutant(
        name="limit_of_lines_is_fixed",
        what="the limit of lines that the shop has set does not hold",
        rule="API: documented limits are settings",
        module="contexts.orders.service.placing",
        replace="MAX_LINES = settings.MAX_ORDER_LINES",
        by="MAX_LINES = 1000",
        caught_by="tests/orders/test_limits.py::test_the_limits_are_settings_and_shown_in_the_document",
    ),
    Mutant(
        name="only_the_first_unknown_sku_has_a_place",
        what="of several unknown SKUs in a request, the response shows the place of one",
        rule="API: validation answers all faults at once",
        module="contexts.orders.service.placing",
        replace="if item.sku in (unknown.sku, *unknown.skus)",
        by="if item.sku == unknown.sku",
        caught_by="tests/orders/test_bad_input.py::test_every_fault_that_the_use_case_finds_has_its_place",
    ),
    Mutant(
        name="fault_of_the_use_case_without_a_place",
        what="an unknown SKU is refused, and the client does not learn in which line it is",
        rule="API: faults have JSON pointers",
        module="contexts.orders.service.placing",
        replace='f"/items/{position}/sku"',
        by='""',
        caught_by="tests/orders/test_bad_input.py::test_every_fault_that_the_use_case_finds_has_its_place",
    ),
    Mutant(
        name="order_hides_failed_refund",
        what="a cancelled order whose refund was returned by the bank still says that it is refunded",
        rule="protocol 4.4: a refund that failed reaches the order",
        module="contexts.orders.service.payment_amounts",
        replace='return any(refund.get("failed") for refund in summary.refunds)',
        by='return any(refund.get("") for refund in summary.refunds)',
        caught_by="tests/orders/test_payment_news.py"
        "::test_a_cancelled_order_whose_refund_the_bank_returns_is_not_refunded",
    ),
    Mutant(
        name="older_payments_have_no_number",
        what="the payments of older releases are not found by the order number",
        rule="Admin: payments are found by the number of their order",
        module="contexts.orders.service.payment_numbers",
        replace="payments.set_numbers(numbers=numbers)",
        by="pass",
        caught_by="tests/orders/test_payment_news.py::test_the_numbers_of_older_orders_reach_their_payments",
    ),
    Mutant(
        name="orders_change_gives_money_back",
        what="staff who may only change orders give captured money back by cancelling them",
        rule="Rights by effect: what gives money back needs the permission payments.refund",
        module="contexts.orders.service.cancellation",
        replace="        return condition if can_refund else condition & ~Q(status=OrderStatus.CONFIRMED)\n",
        by="        return condition\n",
        caught_by="tests/orders/test_admin.py::test_the_right_to_change_orders_does_not_give_captured_money_back",
    ),
    Mutant(
        name="resumed_checkout_is_not_audited",
        what="the audit does not show which member of staff resumed a checkout",
        rule="Audit: what staff do is recorded",
        module="contexts.orders.admin",
        replace="    orders.resume_for_staff(UUID(task.key), actor=task.actor)",
        by="    orders.resume(UUID(task.key))",
        caught_by="tests/orders/test_admin.py::test_the_audit_records_who_resumed_a_checkout",
    ),
)
