"""Stock that orders hold unpaid is limited for each client, account, e-mail address and recipient, and for a short time."""

import uuid
from ipaddress import ip_network

import pytest

from contexts.orders.checkout import holds
from contexts.orders.models import UnpaidHold
from contexts.orders.service import orders
from shop.db.database import execute, fetch_rows
from shop.db.retention import list_model_rules
from shop.purging import purge_now
from tests.concurrency import eventually, repeat_concurrently
from tests.engine_driver import run_checkout_timers, run_payment_timers, run_until_idle
from tests.factories import create_product, create_sku
from tests.orders.queries import count_charges, payment_of, reservation_of, status_and_step_of, stock_of
from tests.shopper import ADDRESS, InProcessShopper
from tests.users.accounts import unique_email

pytestmark = pytest.mark.usefixtures("verified")

WAITING, REFUSED = (202, ""), (409, "orders.hold_limit_reached")


@pytest.fixture(autouse=True)
def limits(settings):
    """Switch the limits on, as they are by default, and each test has an address of its own."""
    execute("orders", "DELETE FROM shop_ratelimit")
    settings.RATE_LIMITS = True
    settings.TRUSTED_PROXIES = [ip_network("127.0.0.1")]
    return settings


@pytest.fixture
def network():
    """Return the address of one client, which no other test has."""
    return f"2001:db8:{uuid.uuid4().hex[:4]}:{uuid.uuid4().hex[:4]}::1"


def build_address():
    """Return a postal address that no other order has."""
    return ADDRESS | {"line1": f"{uuid.uuid4().int % 10**9} Main Street"}


def order(sku, quantity=1, *, shopper=None, network="", token="tok_requires_action", **changes):
    """Order units of a SKU with an e-mail address, a recipient and a client of its own, unless they are given."""
    body = {
        "items": [{"sku": sku, "quantity": quantity}],
        "email": unique_email(),
        "shipping_address": build_address(),
        "payment_method": {"provider": "sandbox", "token": token},
    }
    headers = {"X_Forwarded_For": network or f"2001:db8:{uuid.uuid4().hex[:4]}:{uuid.uuid4().hex[:4]}::1"}
    shopper = shopper or InProcessShopper()
    return shopper.post("orders", body | changes, Idempotency_Key=uuid.uuid4().hex, **headers)


def outcome(answer):
    return answer.status, answer.body.get("code", "")


def test_the_whole_stock_cannot_be_held_without_paying():
    """Three guests of one client ask for all units of 250 SKUs."""
    skus = create_product([4] * 250)
    items = [{"sku": sku, "quantity": 4} for sku in skus]
    answers = [order("", items=items, network="198.51.100.77") for _ in range(3)]
    assert [outcome(answer) for answer in answers] == [REFUSED] * 3
    assert {stock_of(sku) for sku in skus} == {(4, 0)}
    assert order(skus[0], 4, token="tok_ok").status == 201


def test_of_parallel_orders_no_more_than_the_limit_hold_stock(limits, network):
    limits.HOLD_LIMIT_ORDERS = "address:3"
    sku = create_sku(100)
    outcomes = repeat_concurrently(20, lambda _: outcome(order(sku, network=network)))
    assert (outcomes.count(WAITING), outcomes.count(REFUSED)) == (3, 17)
    assert stock_of(sku) == (100, 3)


def test_of_parallel_orders_no_more_units_than_the_limit_are_held(limits):
    limits.HOLD_LIMIT_UNITS = "email:10"
    sku, email = create_sku(1000), unique_email()
    outcomes = repeat_concurrently(12, lambda _: outcome(order(sku, 4, email=email)))
    assert (outcomes.count(WAITING), outcomes.count(REFUSED)) == (2, 10)
    assert stock_of(sku) == (1000, 8)


def test_units_of_all_lines_count(limits):
    limits.HOLD_LIMIT_UNITS = "email:10"
    items = [{"sku": create_sku(9), "quantity": 6}, {"sku": create_sku(9), "quantity": 5}]
    assert outcome(order("", items=items)) == REFUSED
    assert outcome(order("", items=[{"sku": create_sku(20), "quantity": 5}] * 2)) == WAITING


@pytest.mark.parametrize(
    "spellings",
    [
        ({"email": "{}@example.com"}, {"email": "{}+tag@EXAMPLE.com"}),
        ({"network": "2001:db8:0:{}::1"}, {"network": "2001:db8:0:{}:ffff::2"}),
        (
            {"shipping_address": ADDRESS | {"line1": "12 Elm {} Street"}},
            {"shipping_address": ADDRESS | {"line1": "12, elm-{}  street.", "name": "Somebody Else"}},
        ),
    ],
    ids=["e-mail address", "client", "recipient"],
)
def test_one_person_is_counted_in_every_spelling(limits, spellings):
    limits.HOLD_LIMIT_ORDERS = "address:2,email:2,recipient:2"
    sku, name = create_sku(20), uuid.uuid4().hex[:4]

    def write(value):
        return {part: write(text) for part, text in value.items()} if isinstance(value, dict) else value.format(name)

    one, other = (write(spelling) for spelling in spellings)
    assert [outcome(order(sku, **who)) for who in (one, other, one, other)] == [WAITING] * 2 + [REFUSED] * 2
    assert outcome(order(sku)) == WAITING, "somebody else"


def test_an_account_is_counted_whatever_addresses_it_names(limits):
    limits.HOLD_LIMIT_ORDERS = "account:2"
    customer, sku = InProcessShopper(), create_sku(20)
    customer.register()
    assert [outcome(order(sku, shopper=customer)) for _ in range(3)] == [WAITING] * 2 + [REFUSED]


def test_an_order_that_is_paid_at_once_is_not_limited(limits):
    limits.HOLD_LIMIT_ORDERS, limits.HOLD_LIMIT_UNITS = "address:1,email:1,recipient:1", "address:1,email:1,recipient:1"
    who = {"email": unique_email(), "shipping_address": build_address(), "network": "198.51.100.9"}
    sku = create_sku(5000)
    assert [order(sku, 1000, token="tok_ok", **who).status for _ in range(3)] == [201] * 3
    assert fetch_rows("orders", "SELECT 1 FROM orders_order WHERE hold_keys IS NOT NULL AND status = 'confirmed'") == []


@pytest.mark.parametrize("ending", ["paid", "declined", "cancelled", "expired"])
def test_an_order_that_waits_no_longer_counts_no_longer(limits, ending):
    limits.HOLD_LIMIT_ORDERS = "email:1"
    if ending == "expired":
        limits.UNPAID_HOLD_SECONDS = 0.2
    sku, email = create_sku(20), unique_email()
    first = order(sku, email=email).body
    action = first["payment"]["action"]["url"].split("/", 3)[3]
    if ending == "cancelled":
        InProcessShopper().post(f"orders/{first['id']}/cancel", X_Order_Token=first["token"])
    elif ending != "expired":
        InProcessShopper().post("/" + (action if ending == "paid" else action.replace("approve", "decline")))
    eventually(lambda: status_and_step_of(first["id"])[1] in ("done", "closed"), run_checkout_timers, run_until_idle)
    limits.UNPAID_HOLD_SECONDS = 300
    assert [outcome(order(sku, email=email)) for _ in range(2)] == [WAITING, REFUSED]


def test_a_refused_order_keeps_nothing_and_its_repeat_gets_the_same_response(limits):
    limits.HOLD_LIMIT_UNITS = "email:1"
    sku, key, shopper = create_sku(5), uuid.uuid4().hex, InProcessShopper()
    body = {
        "items": [{"sku": sku, "quantity": 2}],
        "email": unique_email(),
        "shipping_address": build_address(),
        "payment_method": {"provider": "sandbox", "token": "tok_requires_action"},
    }
    first, again = (shopper.post("orders", body, Idempotency_Key=key) for _ in range(2))
    assert (outcome(first), again.content) == (REFUSED, first.content)
    order_id = first.body["facts"]["order_id"]
    run_until_idle()
    assert status_and_step_of(order_id) == ("rejected", "closed")
    assert (stock_of(sku), reservation_of(order_id), payment_of(order_id)) == ((5, 0), "released", "voided")
    assert count_charges(order_id) == 0
    sql = "SELECT 1 FROM notifications_message WHERE order_id = %s"
    assert fetch_rows("notifications", sql, [order_id]) == [], "it was the response to the request"


def test_an_order_whose_provider_does_not_answer_counts_as_well(limits):
    limits.HOLD_LIMIT_ORDERS = "email:1"
    limits.RESERVATION_HOLD_SECONDS = 3
    sku, email = create_sku(20), unique_email()
    assert [outcome(order(sku, email=email, token="tok_error")) for _ in range(2)] == [WAITING, REFUSED]
    await_release(sku)


def test_counting_again_after_a_crash_changes_nothing(limits):
    limits.HOLD_LIMIT_ORDERS = "email:1"
    placed = order(create_sku(5)).body
    [(subjects, units)] = fetch_rows(
        "orders", "SELECT array_agg(subject), sum(units) FROM orders_unpaidhold WHERE order_id = %s", [placed["id"]]
    )
    row = orders.get(  # a worker that had counted, and died then
        uuid.UUID(placed["id"])
    )
    row.hold_keys = dict.fromkeys(subjects, "email")
    assert holds.count(row)
    sql = "SELECT sum(units) FROM orders_unpaidhold WHERE order_id = %s"
    assert fetch_rows("orders", sql, [placed["id"]]) == [(units,)]


def test_limits_that_are_off_count_nothing(limits):
    limits.HOLD_LIMIT_ORDERS = limits.HOLD_LIMIT_UNITS = "off"
    sku, email = create_sku(500), unique_email()
    assert [outcome(order(sku, 40, email=email)) for _ in range(8)] == [WAITING] * 8


def expire(order_id):
    execute("orders", "UPDATE orders_order SET expires_at = now(), due_at = now() WHERE id = %s", [order_id])


def await_release(sku):
    """Run the shop until no order holds units of a SKU, although the provider may be silent."""
    eventually(lambda: stock_of(sku)[1] == 0, run_payment_timers, run_checkout_timers, run_until_idle)


def seconds_left(order_id):
    sql = "SELECT extract(epoch FROM expires_at - now())::float FROM orders_order WHERE id = %s"
    return fetch_rows("orders", sql, [order_id])[0][0]


def test_stock_is_held_for_a_short_time_until_the_customer_acts(limits):
    limits.UNPAID_HOLD_SECONDS, limits.RESERVATION_HOLD_SECONDS = 300, 900
    waits = order(create_sku(5)).body["id"]
    assert 240 < seconds_left(waits) <= 300
    [(due,)] = fetch_rows(
        "inventory",
        "SELECT extract(epoch FROM due_at - now())::float FROM inventory_reservation WHERE order_id = %s",
        [waits],
    )
    assert 240 < due <= 300
    sku = create_sku(5)
    acted = order(sku, token="tok_error").body["id"]
    assert 840 < seconds_left(acted) <= 900
    expire(acted)
    await_release(sku)


def test_the_short_hold_is_not_longer_than_the_full_one(limits):
    limits.UNPAID_HOLD_SECONDS, limits.RESERVATION_HOLD_SECONDS = 300, 60
    for token in ("tok_requires_action", "tok_error"):
        sku = create_sku(5)
        placed = order(sku, token=token).body["id"]
        assert 0 < seconds_left(placed) <= 60
        expire(placed)
        await_release(sku)


def test_an_order_that_is_not_paid_in_the_short_time_releases_its_stock(limits):
    limits.UNPAID_HOLD_SECONDS = 0.2
    sku = create_sku(1)
    placed = order(sku).body
    eventually(lambda: stock_of(sku) == (1, 0), run_payment_timers, run_checkout_timers, run_until_idle)
    assert status_and_step_of(placed["id"]) == ("rejected", "closed")


def test_the_table_has_hashes_only_and_is_emptied_after_a_day(limits, network):
    email = unique_email()
    placed = order(create_sku(5), email=email, network=network).body
    rows = fetch_rows("orders", "SELECT hold::text FROM orders_unpaidhold hold WHERE order_id = %s", [placed["id"]])
    assert len(rows) == 3
    assert not [row for (row,) in rows if email in row or network in row or "Main" in row]

    def purge():
        execute(
            "orders",
            "UPDATE orders_unpaidhold SET created_at = now() - interval '25 hours' WHERE order_id = %s",
            [placed["id"]],
        )
        purge_now("orders", list_model_rules(UnpaidHold))
        return len(fetch_rows("orders", "SELECT 1 FROM orders_unpaidhold WHERE order_id = %s", [placed["id"]]))

    assert purge() == 3, "the order still waits"
    InProcessShopper().post(f"orders/{placed['id']}/cancel", X_Order_Token=placed["token"])
    assert purge() == 0


def test_paying_again_does_not_count_twice(limits):
    limits.HOLD_LIMIT_ORDERS = "email:1"
    shopper = InProcessShopper()
    placed = order(create_sku(5)).body
    headers = {"X_Order_Token": placed["token"], "Idempotency_Key": uuid.uuid4().hex}
    body = {"payment_method": {"provider": "sandbox", "token": "tok_requires_action"}}
    assert shopper.post(f"orders/{placed['id']}/payment", body, **headers).status == 202
