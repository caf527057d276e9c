"""Rows that hot statements return are the same instances that Django's queries build."""

from contexts.orders.models import Order, Step
from contexts.payments.models import Payment
from shop.db.database import build_column_list, fetch_instances
from tests.factories import create_sku

SELECT_ORDER = f"SELECT {build_column_list(Order)}, 7 FROM orders_order WHERE id = %s"
SELECT_PAYMENT = f"SELECT {build_column_list(Payment)} FROM payments_payment WHERE order_id = %s"


def attributes_of(instance) -> dict:
    return {name: value for name, value in vars(instance).items() if name != "_state"}


def test_an_instance_has_the_attributes_and_the_state_of_one_of_django(shopper):
    order_id = shopper.order(create_sku(1), token="tok_requires_action").body["id"]
    for model, alias, sql, query in (
        (Order, "orders", SELECT_ORDER, {"pk": order_id}),
        (Payment, "payments", SELECT_PAYMENT, {"order_id": order_id}),
    ):
        extra = ("lucky_number",) if model is Order else ()
        [instance] = fetch_instances(model, alias, sql, [order_id], extra_attributes=extra)
        expected = model.objects.get(**query)
        assert attributes_of(instance) == attributes_of(expected) | dict.fromkeys(extra, 7)
        assert (instance._state.adding, instance._state.db) == (expected._state.adding, expected._state.db)
        assert (instance == expected, str(instance)) == (True, str(expected))


def test_an_instance_is_saved_and_followed_like_one_of_django(shopper):
    order_id = shopper.order(create_sku(1), token="tok_requires_action").body["id"]
    [order] = fetch_instances(Order, "orders", SELECT_ORDER, [order_id], extra_attributes=("lucky_number",))
    assert [line.order_id for line in order.lines.all()] == [order.id]
    order.tries = 3
    order.save(update_fields=["tries"])
    order.refresh_from_db()
    assert (order.tries, order.step, Order.objects.filter(pk=order_id).count()) == (3, Step.AUTHORIZING, 1)
