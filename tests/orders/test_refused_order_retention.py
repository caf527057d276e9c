"""An order that was refused at once for lack of stock is deleted some time later. What became more than that is kept."""

import uuid

import pytest

from contexts.orders.models import Order
from shop.db.database import execute, fetch_rows
from shop.db.retention import list_model_rules
from shop.models import OutboxEvent
from shop.purging import purge_now
from tests.engine_driver import run_until_idle
from tests.factories import create_sku

pytestmark = pytest.mark.usefixtures("verified")

AGE_ORDER_SQL = "UPDATE orders_order SET created_at = created_at - %s * interval '1 day' WHERE id = %s"
AGE_EVENTS_SQL = "UPDATE shop_outboxevent SET occurred_at = occurred_at - %s * interval '1 day' WHERE stream = %s"


def age_and_purge(order, days):
    run_until_idle()
    execute("orders", AGE_ORDER_SQL, [days, order])
    execute("orders", AGE_EVENTS_SQL, [days, f"orders.order:{order}"])
    purge_now("orders", [*list_model_rules(OutboxEvent), *list_model_rules(Order)])


def count_rows(order):
    return [
        fetch_rows("orders", f"SELECT count(*) FROM {table} WHERE {column} = %s", [order])[0][0]
        for table, column in [
            ("orders_order", "id"),
            ("orders_orderline", "order_id"),
            ("shop_idempotencykey", "resource"),
        ]
    ]


def refuse(shopper, units=1, **options):
    answer = shopper.order(
        items=[{"sku": create_sku(units), "quantity": units + 1}, *options.pop("items", [])], **options
    )
    assert (answer.status, answer.body["code"]) == (409, "inventory.out_of_stock")
    return answer.body["facts"]["order_id"]


def test_an_order_that_was_refused_at_once_is_deleted_after_a_month_with_its_lines_and_its_key(shopper):
    order = refuse(shopper, items=[{"sku": create_sku(1), "quantity": 1}])
    age_and_purge(order, 29)
    assert count_rows(order) == [1, 2, 1]
    age_and_purge(order, 2)
    assert count_rows(order) == [0, 0, 0]


def test_it_is_kept_as_long_as_its_events(shopper, settings):
    settings.REFUSED_ORDER_RETENTION_DAYS = 1
    order = refuse(shopper)
    age_and_purge(order, 20)
    assert count_rows(order) == [1, 1, 1]


@pytest.mark.parametrize(("token", "status"), [("tok_ok", 201), ("tok_declined", 402)])
def test_other_orders_are_kept(shopper, token, status):
    answer = shopper.order(create_sku(1), token=token)
    assert answer.status == status
    order = answer.body["id"] if status == 201 else answer.body["facts"]["order_id"]
    age_and_purge(order, 400)
    assert count_rows(order) == [1, 1, 1]


def test_a_repeat_of_its_request_is_a_new_request(shopper):
    sku, key = create_sku(1), uuid.uuid4().hex
    items = [{"sku": sku, "quantity": 2}]
    first = shopper.order(items=items, key=key)
    assert shopper.order(items=items, key=key).content == first.content
    age_and_purge(first.body["facts"]["order_id"], 31)
    again = shopper.order(items=items, key=key)
    assert (again.status, again.body["facts"]["order_id"] != first.body["facts"]["order_id"]) == (409, True)
