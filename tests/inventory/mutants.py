"""Planted bugs that the tests of this folder catch. Run them with `make mutants`."""

from tests.mutants.planted import Change, Mutant

MUTANTS = (
    Mutant(
        name="stock_key_purged",
        what="a stock movement whose key was deleted is booked again",
        rule="protocol 5: the key of a stock movement is kept as long as the movement",
        module="contexts.inventory.rest",
        replace="move(uid=uid)), 201), resource=uid)",
        by="move(uid=uid)), 201))",
        caught_by="tests/inventory/test_staff.py::test_a_stock_movement_is_booked_once_per_key_also_after_a_month",
    ),
    Mutant(
        name="quote_names_one_of_many",
        what="of many items that are not for sale, only the first is named",
        rule="API: one error lists all of them",
        module="contexts.inventory.service.catalogue",
        replace="raise UnknownSku(sku=missing[0], skus=missing)",
        by="raise UnknownSku(sku=missing[0], skus=missing[:1])",
        caught_by="tests/orders/test_cart_prices.py::test_an_order_of_unavailable_items_names_all_of_them",
    ),
    Mutant(
        name="catalogue_ignores_changed_availability",
        what="a cached catalogue response shows the availability of the time when it was rendered",
        rule="Catalogue: a response shows current availability",
        module="contexts.inventory.service.catalogue_cache",
        replace="if available != last_available:",
        by="if len(available) != len(last_available):",
        caught_by="tests/inventory/test_catalogue.py::test_a_cached_page_shows_current_units_of_each_variant",
    ),
    Mutant(
        name="catalogue_ignores_version",
        what="a cached catalogue response is never rendered again",
        rule="Catalogue: a response is rendered again after the catalogue has changed",
        module="contexts.inventory.service.catalogue_cache",
        replace="if cache.version != version:",
        by="if cache.version == 0:",
        caught_by="tests/inventory/test_catalogue.py::test_every_change_is_visible_to_the_next_request",
    ),
    Mutant(
        name="catalogue_keeps_stale_responses",
        what="a change of a variant does not raise the catalogue's version, so outdated responses stay cached",
        rule="Catalogue: a cached response is never outdated, because the database raises the version",
        module="contexts.inventory.migrations.0002_catalogue_version",
        replace='TABLES = ("category", "product", "variant")  # not stock: available units are read at each request',
        by='TABLES = ("category", "product")  # not stock: available units are read at each request',
        caught_by="tests/inventory/test_catalogue.py::test_every_change_is_visible_to_the_next_request",
    ),
    Mutant(
        name="reservation_released_by_inventory_on_expiry",
        what="inventory releases stock on its own when the hold expires",
        rule="protocol 3.5: only the saga releases stock; the hold only determines when ReservationDue is published",
        module="contexts.inventory.service.reservations",
        replace="            publish(ReservationDue(order_id=order_id), row=Revision(sequence))",
        by="""\
            publish(ReservationDue(order_id=order_id), row=Revision(sequence))
    for order_id, _ in due:
        release(order_id)""",
        caught_by="tests/inventory/test_events.py::test_a_due_reservation_is_published_once_and_stays_held",
    ),
    Mutant(
        name="reservation_is_released_twice",
        what="each repeated release of a reservation restores its units again",
        rule="protocol 1.1: a repeat returns the recorded outcome; final states do not change",
        module="contexts.inventory.service.reservations",
        replace="WHERE inventory_reservation.status IN ('held', 'committed')",
        by="WHERE inventory_reservation.status <> 'refused'",
        caught_by="tests/inventory/test_reservations.py::test_releasing_a_committed_reservation_restocks_the_units_once",
    ),
    Mutant(
        name="reservation_release_leaves_no_tombstone",
        what="a reserve that arrives after its release holds stock that is never released",
        rule="protocol 1.1: undo of an unknown key leaves a tombstone",
        module="contexts.inventory.service.reservations",
        replace="""\
    with transaction("inventory"):
        released = fetch_rows("inventory", _RELEASE_SQL, [order_id])""",
        by="""\
    with transaction("inventory"):
        if not ReservationRow.objects.filter(order_id=order_id).exists():
            return _to_reservation(order_id, ReservationStatus.RELEASED, {})
        released = fetch_rows("inventory", _RELEASE_SQL, [order_id])""",
        caught_by="tests/inventory/test_reservations.py::test_releasing_an_unknown_order_leaves_a_tombstone",
    ),
    Mutant(
        name="reservation_committed_after_release",
        what="released stock is sold when a confirmation arrives late",
        rule="protocol 7: commit of a released or refused reservation is ignored",
        module="contexts.inventory.service.reservations",
        replace='WHERE order_id = %s AND status = \'held\' RETURNING sequence, {_LINES_SQL}""")',
        by='WHERE order_id = %s RETURNING sequence, {_LINES_SQL}""")',
        caught_by="tests/inventory/test_reservations.py::test_committing_a_released_or_refused_reservation_is_ignored",
    ),
    Mutant(
        name="stock_event_without_new_sequence",
        what="back_in_stock is published with the same sequence as sold_out",
        rule="protocol 2.1: sequence is raised by the same UPDATE that changes the aggregate",
        module="contexts.inventory.service.stock",
        replace="sequence = sequence + ((on_hand > reserved) <> (next_on_hand > next_reserved))::int",
        by="sequence = sequence + ((on_hand > reserved) > (next_on_hand > next_reserved))::int",
        caught_by="tests/inventory/test_reservations.py::test_sold_out_and_back_in_stock_are_published_in_the_stream_of_the_sku",
        fails_with="django.db.utils.IntegrityError",
    ),
    Mutant(
        name="stock_guarded_by_check_constraint_only",
        what="a buyer of a sold out SKU gets an internal error instead of OutOfStock",
        rule="Data: races are settled by the database: conditional UPDATE, the row count decides",
        module="contexts.inventory.service.stock",
        replace="AND %(count)s = (SELECT count(*) FROM locked WHERE next_on_hand >= next_reserved)",
        by="AND %(count)s = (SELECT count(*) FROM locked)",
        caught_by="tests/inventory/test_races.py::test_no_more_units_are_reserved_than_are_on_hand",
    ),
    Mutant(
        name="stock_locked_in_request_order",
        what="two orders with the same SKUs in opposite order deadlock",
        rule="Data: rows locked in sorted order",
        module="contexts.inventory.service.stock",
        replace="ORDER BY sku FOR UPDATE OF inventory_stock),",
        by="FOR UPDATE OF inventory_stock),",
        caught_by="tests/inventory/test_races.py::test_orders_with_the_same_skus_in_opposite_order_do_not_deadlock",
    ),
    Mutant(
        name="stock_lines_not_summed_by_sku",
        what="of two lines with the same SKU only one is reserved",
        rule="Data: demand summed per SKU first",
        module="contexts.inventory.service.reservations",
        replace="demand[line.sku] += line.quantity",
        by="demand[line.sku] = line.quantity",
        caught_by="tests/inventory/test_reservations.py::test_lines_of_the_same_sku_count_together",
    ),
    Mutant(
        name="stock_is_oversold",
        what="the last unit is sold several times, because both the condition and the CHECK are missing",
        rule="Data: races are settled by the database: conditional UPDATE, CHECK behind it",
        module="contexts.inventory.service.stock",
        replace="AND %(count)s = (SELECT count(*) FROM locked WHERE next_on_hand >= next_reserved)",
        by="AND %(count)s = (SELECT count(*) FROM locked)",
        caught_by="tests/inventory/test_races.py::test_of_fifty_buyers_of_the_last_unit_one_wins_and_49_get_out_of_stock",
        also=(
            Change(
                "contexts.inventory.migrations.0001_initial",
                "constraint=models.CheckConstraint(condition=models.Q(('reserved__gte', 0), ('reserved__lte', models.F('on_hand'))), name='reserved_within_on_hand'),",
                "constraint=models.CheckConstraint(condition=models.Q(('reserved__gte', 0)), name='reserved_within_on_hand'),",
            ),
        ),
    ),
    Mutant(
        name="stock_reserved_partially",
        what="an order that is only partly in stock is partly reserved",
        rule="Checkout: out of stock is rejected, and nothing stays reserved",
        module="contexts.inventory.service.stock",
        replace="AND %(count)s = (SELECT count(*) FROM locked WHERE next_on_hand >= next_reserved)",
        by="AND next_on_hand >= next_reserved",
        caught_by="tests/inventory/test_reservations.py::test_all_lines_are_reserved_or_none",
    ),
    Mutant(
        name="stock_without_check_constraint",
        what="only the application keeps the reserved units within the units on hand",
        rule="Data: conditional UPDATE, CHECK behind it",
        module="contexts.inventory.migrations.0001_initial",
        replace="constraint=models.CheckConstraint(condition=models.Q(('reserved__gte', 0), ('reserved__lte', models.F('on_hand'))), name='reserved_within_on_hand'),",
        by="constraint=models.CheckConstraint(condition=models.Q(('reserved__gte', 0)), name='reserved_within_on_hand'),",
        caught_by="tests/inventory/test_races.py::test_control_reading_before_writing_violates_the_constraint",
    ),
)
