"""The token of a guest's order is stored nowhere: not with the response that an idempotency key keeps, either."""

import uuid
from importlib import import_module

import pytest
from django.db import connections

from contexts.orders.service.views import make_guest_token
from shop.db.database import execute, fetch_rows
from tests.engine_driver import run_until_idle
from tests.factories import create_sku

pytestmark = pytest.mark.usefixtures("verified")

# Every column of every table of orders, as text.
TABLES_SQL = "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()"


def read_key(key):
    [(body,)] = fetch_rows("orders", "SELECT convert_from(body, 'UTF8') FROM shop_idempotencykey WHERE key = %s", [key])
    return body


def find_in_database(text):
    """Return the tables of orders that have a text, in a column of text, JSON or bytes."""
    return [
        table
        for (table,) in fetch_rows("orders", TABLES_SQL)
        if fetch_rows(
            "orders",
            f"""SELECT 1 FROM "{table}" AS line, jsonb_each_text(to_jsonb(line)) AS field WHERE
                field.value LIKE concat('%%', %s::text, '%%')
                OR field.value LIKE concat('%%', encode(convert_to(%s, 'UTF8'), 'hex'), '%%') LIMIT 1""",
            [text, text],
        )
    ]


def test_the_token_of_a_guest_is_in_the_response_and_in_no_table(shopper):
    key = uuid.uuid4().hex
    order = shopper.order(create_sku(1), key=key).body
    run_until_idle()
    assert order["token"] == make_guest_token(uuid.UUID(order["id"]))
    assert order["id"] in read_key(key)
    assert find_in_database(order["token"]) == []
    assert "shop_idempotencykey" in find_in_database(order["id"]), "the search works"


@pytest.mark.parametrize("action", ["cancel", "payment"])
def test_a_token_in_the_query_of_an_action_is_refused_with_the_header_to_use(shopper, action):
    order = shopper.order(create_sku(1)).body
    refused = shopper.post(f"orders/{order['id']}/{action}?token={order['token']}", {})
    assert (refused.status, refused.body["code"]) == (400, "shop.bad_query")
    [fault] = refused.body["errors"]
    assert fault["parameter"] == "token" and "Send it in the header X-Order-Token." in fault["detail"]
    assert order["token"] not in refused.content.decode()


def test_another_unknown_parameter_is_no_header(shopper):
    order = shopper.order(create_sku(1)).body
    for name in ("order", "x", "tokens", ""):
        refused = shopper.post(f"orders/{order['id']}/cancel?{name}=1", {})
        assert refused.status == 400 and "header" not in refused.content.decode()


def test_a_repeat_returns_the_same_bytes_with_the_token(shopper):
    sku, key = create_sku(5), uuid.uuid4().hex
    first, again = (shopper.order(sku, key=key) for _ in range(2))
    assert (first.status, again.content) == (201, first.content)
    assert shopper.get(f"orders/{first.body['id']}", X_Order_Token=again.body["token"]).status == 200


def test_a_customers_order_has_no_token_in_a_repeat_either(shopper):
    shopper.register()
    sku, key = create_sku(5), uuid.uuid4().hex
    first, again = (shopper.order(sku, key=key, email=None) for _ in range(2))
    assert first.body["token"] is None
    assert again.content == first.content


def test_tokens_in_responses_of_an_older_release_are_removed(shopper):
    sku, keys = create_sku(5), [uuid.uuid4().hex for _ in range(2)]
    guest, declined = shopper.order(sku, key=keys[0]), shopper.order(sku, key=keys[1], token="tok_declined")
    refusal = read_key(keys[1])
    for content, key in ((guest.content, keys[0]), (declined.content, keys[1])):
        execute("orders", "UPDATE shop_idempotencykey SET body = %s WHERE key = %s", [content, key])
    assert guest.body["token"] in read_key(keys[0])
    migration = import_module("contexts.orders.migrations.0011_no_tokens_in_stored_responses")
    with connections["orders"].schema_editor(atomic=False) as editor:
        migration.remove_tokens(None, editor)
    assert read_key(keys[0]).endswith('"token":null}')
    assert read_key(keys[1]) == refusal
    assert shopper.order(sku, key=keys[0]).content == guest.content
