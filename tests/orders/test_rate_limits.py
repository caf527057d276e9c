"""Rate limits of orders and carts: cards cannot be tested, mails cannot be sent to strangers in numbers."""

import uuid
from datetime import timedelta
from ipaddress import ip_network

import pytest
from django.conf import settings as django_settings

from shop.db.database import execute, fetch_rows
from shop.http.quotas import parse_quotas
from tests.concurrency import repeat_concurrently
from tests.engine_driver import run_until_idle
from tests.factories import create_sku
from tests.orders.test_budget import measure
from tests.shopper import ADDRESS, InProcessShopper
from tests.topologies.five_processes import single_process
from tests.users.accounts import unique_email

pytestmark = pytest.mark.usefixtures("verified")

DEFAULT_RATE_LIMIT_ORDERS = django_settings.RATE_LIMIT_ORDERS
DEFAULT_RATE_LIMIT_DECLINED_PAYMENTS = django_settings.RATE_LIMIT_DECLINED_PAYMENTS
PROXY = "127.0.0.1"  # the address of every client of the tests


@pytest.fixture(autouse=True)
def limits(settings):
    """Switch the limits on, without counters of former tests."""
    execute("orders", "DELETE FROM shop_ratelimit")
    settings.RATE_LIMITS = True
    settings.RATE_LIMIT_ORDERS = "1000/minute"
    settings.RATE_LIMIT_DECLINED_PAYMENTS = "address:6/hour,email:3/hour,account:3/hour"
    return settings


@pytest.fixture
def sku():
    return create_sku(1000)


def decline(shopper: InProcessShopper, sku: str, **options: object) -> tuple[int, str]:
    response = shopper.order(sku, **{"token": "tok_declined", "email": unique_email()} | options)
    return response.status, response.body.get("code", "")


def count_intents() -> int:
    [(count,)] = fetch_rows("payments", "SELECT count(*) FROM payments_sandboxintent")
    return count


DECLINED, TOO_MANY = (402, "payments.declined"), (429, "shop.too_many_requests")


def test_after_some_declined_cards_the_next_one_is_refused_before_the_provider_is_called(sku):
    before = count_intents()
    outcomes = [decline(InProcessShopper(), sku) for _ in range(10)]
    assert outcomes == [DECLINED] * 6 + [TOO_MANY] * 4
    assert count_intents() - before == 6
    response = InProcessShopper().order(sku, email=unique_email())
    assert response.status == 429
    assert 3000 < int(response.headers["retry-after"]) <= 3600
    assert response.headers["ratelimit-policy"] == '"declined_payments";q=6;w=3600'
    assert response.headers["ratelimit"].startswith('"declined_payments";r=0;t=3')
    assert response.headers["content-type"] == "application/problem+json"


def test_of_parallel_declined_cards_no_more_than_the_limit_reach_the_provider(sku):
    before = count_intents()
    outcomes = repeat_concurrently(30, lambda _: decline(InProcessShopper(), sku))
    assert (outcomes.count(DECLINED), outcomes.count(TOO_MANY)) == (6, 24)
    assert count_intents() - before == 6


@pytest.mark.parametrize("spelling", ["{}@example.com", "{}+%s@example.com", "{}@EXAMPLE.com"])
def test_declined_cards_are_counted_by_email_address(sku, spelling):
    name = uuid.uuid4().hex
    outcomes = [
        decline(InProcessShopper(), sku, email=spelling.format(name).replace("%s", str(number))) for number in range(5)
    ]
    assert outcomes == [DECLINED] * 3 + [TOO_MANY] * 2


def test_declined_cards_are_counted_by_account(sku):
    shopper = InProcessShopper()
    shopper.register()
    assert [decline(shopper, sku) for _ in range(5)] == [DECLINED] * 3 + [TOO_MANY] * 2


def test_declined_attempts_with_one_card_are_counted(sku, limits):
    limits.RATE_LIMIT_DECLINED_PAYMENTS = "card:2/hour"
    card = f"tok_{uuid.uuid4().hex}"  # the sandbox declines unknown ones
    assert [decline(InProcessShopper(), sku, token=card) for _ in range(3)] == [DECLINED] * 2 + [TOO_MANY]
    assert decline(InProcessShopper(), sku, token=f"tok_{uuid.uuid4().hex}") == DECLINED


def test_paid_and_waiting_orders_do_not_count_as_declined(sku, limits):
    limits.RATE_LIMIT_DECLINED_PAYMENTS = "address:4/hour"
    for _ in range(6):
        assert InProcessShopper().order(sku, email=unique_email()).status == 201
        assert InProcessShopper().order(sku, token="tok_requires_action", email=unique_email()).status == 202
        assert InProcessShopper().order("UNKNOWN", email=unique_email()).status == 422
        assert InProcessShopper().order(create_sku(0), email=unique_email()).status == 409
    execute(
        "orders", "UPDATE shop_ratelimit SET attempts = '{}'"
    )  # those that were not released: a quarter of the quota
    assert [decline(InProcessShopper(), sku) for _ in range(5)] == [DECLINED] * 4 + [TOO_MANY]


def decline_at_provider(order: dict) -> None:
    """Decline the payment of an order on the provider's page, after the response."""
    address = order["payment"]["action"]["url"].replace("/approve", "/decline").split("/", 3)[3]
    assert InProcessShopper().post(f"/{address}").status == 200
    run_until_idle()


def test_a_payment_that_is_declined_after_the_response_counts_once_for_every_key(sku, limits):
    limits.RATE_LIMIT_DECLINED_PAYMENTS = "address:9/hour,email:2/hour,card:3/hour"
    email, shopper = unique_email(), InProcessShopper()
    waiting = [shopper.order(sku, token="tok_requires_action", email=email).body for _ in range(3)]
    assert [order["status"] for order in waiting] == ["pending"] * 3, "no payment is declined yet"
    decline_at_provider(waiting[0])
    assert shopper.order(sku, token="tok_requires_action", email=email).status == 202
    decline_at_provider(waiting[1])
    refused = shopper.order(sku, token="tok_requires_action", email=email)
    assert (refused.status, refused.headers["ratelimit-policy"]) == (429, '"declined_payments";q=2;w=3600')
    assert shopper.order(sku, token="tok_requires_action", email=unique_email()).status == 202, "the card has one left"
    decline_at_provider(waiting[2])
    assert shopper.order(sku, token="tok_requires_action", email=unique_email()).status == 429
    assert shopper.order(sku, email=unique_email()).status == 201, "another card"
    hashes = fetch_rows("orders", "SELECT attempt_counters FROM orders_order WHERE id = %s", [waiting[0]["id"]])
    assert hashes == [(None,)], "they are deleted with the token of the card"


def test_a_payment_that_is_declined_during_a_retry_of_its_request_counts_once(sku, limits):
    limits.RATE_LIMIT_DECLINED_PAYMENTS = "email:2/hour"
    key, email, shopper = uuid.uuid4().hex, unique_email(), InProcessShopper()
    options = {"token": "tok_requires_action", "email": email}
    order = shopper.order(sku, key=key, **options).body
    decline_at_provider(order)
    assert [shopper.order(sku, key=key, **options).status for _ in range(3)] == [402] * 3
    assert shopper.order(sku, **options).status == 202
    assert decline(shopper, sku, email=email) == DECLINED
    assert decline(shopper, sku, email=email) == TOO_MANY


def pay_again(shopper: InProcessShopper, order: dict, token: str, key: str = "") -> int:
    body = {"payment_method": {"provider": "sandbox", "token": token}}
    headers = {"Idempotency_Key": key or uuid.uuid4().hex, "X_Order_Token": order["token"]}
    return shopper.post(f"orders/{order['id']}/payment", body, **headers).status


def test_a_card_that_is_declined_when_an_order_is_paid_again_counts_once(sku, limits):
    limits.RATE_LIMIT_DECLINED_PAYMENTS = "address:2/hour"
    shopper, key = InProcessShopper(), uuid.uuid4().hex
    order = shopper.buy(sku, token="tok_capture_refused", email=unique_email())
    assert [pay_again(shopper, order, "tok_declined", key) for _ in range(3)] == [402] * 3
    assert pay_again(shopper, order, "tok_requires_action") == 202
    decline_at_provider(shopper.get_order(order))
    assert pay_again(shopper, order, "tok_ok") == 429
    assert shopper.get_order(order)["status"] == "on_hold"


def test_a_card_that_ends_a_pending_order_counts_once(sku, limits):
    limits.RATE_LIMIT_DECLINED_PAYMENTS = "address:2/hour"
    shopper = InProcessShopper()
    order = shopper.order(sku, token="tok_requires_action", email=unique_email()).body
    assert pay_again(shopper, order, "tok_declined") == 402
    run_until_idle()
    assert [decline(shopper, sku) for _ in range(2)] == [DECLINED, TOO_MANY]


def test_by_default_many_parallel_orders_of_one_customer_are_no_card_testing(sku, limits):
    """Attempts under way take the quota of declined payments; those above it wait until one is paid."""
    limits.RATE_LIMIT_DECLINED_PAYMENTS = DEFAULT_RATE_LIMIT_DECLINED_PAYMENTS
    shopper = InProcessShopper()
    shopper.register()
    assert parse_quotas(DEFAULT_RATE_LIMIT_DECLINED_PAYMENTS)["account"].limit < 20
    statuses = repeat_concurrently(20, lambda _: shopper.order(sku).status)
    assert statuses == [201] * 20


def test_a_retry_with_the_same_key_is_neither_counted_nor_refused(sku, limits):
    limits.RATE_LIMIT_ORDERS = "1/hour"
    key, shopper = uuid.uuid4().hex, InProcessShopper()
    first = shopper.order(sku, key=key)
    assert [shopper.order(sku, key=key).content for _ in range(3)] == [first.content] * 3
    assert shopper.order(sku).status == 429


def test_a_retry_takes_nothing_of_the_quota_and_shows_none(sku, limits):
    limits.RATE_LIMIT_ORDERS = "3/hour"
    key, shopper = uuid.uuid4().hex, InProcessShopper()
    assert "ratelimit" in shopper.order(sku, key=key).headers
    for _ in range(3):
        assert "ratelimit" not in shopper.order(sku, key=key).headers
    assert [shopper.order(sku).status for _ in range(3)] == [201, 201, 429]


def test_orders_are_limited_and_say_what_is_left(sku, limits):
    """A refused order takes nothing of the quota of declined payments, which would be the longer wait."""
    limits.RATE_LIMIT_ORDERS, limits.RATE_LIMIT_DECLINED_PAYMENTS = "3/minute", "4/hour"
    responses = repeat_concurrently(10, lambda _: InProcessShopper().order(sku, email=unique_email()))
    assert sorted(response.status for response in responses) == [201] * 3 + [429] * 7
    accepted = [response.headers["ratelimit"] for response in responses if response.status == 201]
    assert sorted(text.partition(";t=")[0] for text in accepted) == [f'"orders";r={left}' for left in range(3)]
    assert {response.headers["ratelimit-policy"] for response in responses} == {'"orders";q=3;w=60'}


def test_clients_behind_a_trusted_proxy_are_counted_apart(sku, limits):
    limits.RATE_LIMIT_ORDERS = "address:1/hour"
    limits.TRUSTED_PROXIES = (ip_network(PROXY),)
    assert [order_from(one, sku) for one in ("198.51.100.1", "198.51.100.1", "198.51.100.2")] == [201, 429, 201]
    assert [order_from(one, sku) for one in ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1")] == [201, 429, 201]


def test_an_untrusted_client_cannot_choose_its_address(sku, limits):
    limits.RATE_LIMIT_ORDERS = "address:1/hour"
    assert [order_from(one, sku) for one in ("198.51.100.1", "198.51.100.2")] == [201, 429]


def order_from(address: str, sku: str) -> int:
    """Order through a proxy that names this address of its client."""
    body = {
        "items": [{"sku": sku, "quantity": 1}],
        "email": unique_email(),
        "shipping_address": ADDRESS,
        "payment_method": {"provider": "sandbox", "token": "tok_ok"},
    }
    headers = {"Idempotency_Key": uuid.uuid4().hex, "X_Forwarded_For": address}
    return InProcessShopper().post("orders", body, **headers).status


def test_new_carts_are_limited(limits):
    limits.RATE_LIMIT_CARTS = "2/minute"
    assert [InProcessShopper().post("carts").status for _ in range(3)] == [201, 201, 429]


def emails_to(email: str) -> list[str]:
    sql = """SELECT message.template FROM notifications_message AS message WHERE channel = 'email' AND order_id = ANY(%s)
             ORDER BY template"""
    order_ids = [row[0] for row in fetch_rows("orders", "SELECT id FROM orders_order WHERE email = %s", [email])]
    return [template for (template,) in fetch_rows("notifications", sql, [order_ids])]


def test_an_order_that_was_refused_in_the_response_sends_no_mail(sku, limits):
    limits.RATE_LIMIT_DECLINED_PAYMENTS = "off"
    stranger, shopper = unique_email(), InProcessShopper()
    for _ in range(10):
        assert decline(shopper, sku, email=stranger) == DECLINED
    assert shopper.order(create_sku(0), email=stranger).status == 409
    run_until_idle()
    assert emails_to(stranger) == []
    assert shopper.order(sku, email=stranger).status == 201
    run_until_idle()
    assert emails_to(stranger) == ["order_confirmed"]


def test_by_default_sixty_mails_to_a_stranger_are_impossible(sku, limits):
    """A waiting order sends a mail when it expires, so orders are limited by e-mail address."""
    quotas = parse_quotas(DEFAULT_RATE_LIMIT_ORDERS)
    assert quotas["email"].limit < 60
    assert timedelta(seconds=quotas["email"].seconds) >= timedelta(hours=1)
    limits.RATE_LIMIT_ORDERS = "email:5/hour"
    stranger = unique_email()
    statuses = [InProcessShopper().order(sku, token="tok_requires_action", email=stranger).status for _ in range(8)]
    assert statuses == [202] * 5 + [429] * 3


def test_limits_cost_an_order_one_statement(sku, limits):
    with single_process():
        run_until_idle()
        limits.RATE_LIMIT_DECLINED_PAYMENTS = DEFAULT_RATE_LIMIT_DECLINED_PAYMENTS
        limits.RATE_LIMITS = False
        without = measure(lambda: InProcessShopper().order(sku))
        limits.RATE_LIMITS = True
        counts = measure(lambda: InProcessShopper().order(sku))
    assert len(counts.statements) - len(without.statements) == 1


def test_requests_for_the_link_to_an_order_are_limited_by_email_address_and_address(limits):
    limits.RATE_LIMIT_LOOKUP = "address:4/minute,email:2/hour"
    stranger = unique_email()

    def look_up(email: str) -> int:
        return InProcessShopper().post("orders/lookup", {"number": "AAAAAAAAAA", "email": email}).status

    assert [look_up(stranger) for _ in range(3)] == [202, 202, 429]
    assert [look_up(unique_email()) for _ in range(3)] == [202, 202, 429]


def order_lines(sku: str, lines: int, quantity: int = 1) -> int:
    items = [{"sku": sku, "quantity": quantity}] * lines
    return InProcessShopper().order(items=items, email=unique_email()).status


@pytest.mark.parametrize(("quantity", "outcome"), [(1, 201), (1000, 409)], ids=["sold", "refused"])
def test_large_orders_are_limited_whether_they_are_sold_or_refused(sku, limits, quantity, outcome):
    limits.RATE_LIMIT_LARGE_ORDERS = "address:2/hour"
    assert [order_lines(sku, 21, quantity) for _ in range(3)] == [outcome, outcome, 429]
    assert order_lines(sku, 20, quantity) == outcome, "an order of 20 lines is not large"
    [(stored,)] = fetch_rows("orders", "SELECT count(*) FROM orders_orderline WHERE sku = %s", [sku])
    assert stored == 2 * 21 + 20


def test_the_refusal_of_a_large_order_names_its_limit(sku, limits):
    limits.RATE_LIMIT_LARGE_ORDERS = "address:1/hour"
    order_lines(sku, 21)
    response = InProcessShopper().order(items=[{"sku": sku, "quantity": 1}] * 21, email=unique_email())
    assert (response.status, response.body["code"]) == TOO_MANY
    assert response.headers["ratelimit-policy"] == '"large_orders";q=1;w=3600'


def test_the_items_of_a_large_cart_count_as_well(sku, limits):
    limits.RATE_LIMIT_LARGE_ORDERS = "address:1/hour"
    shopper = InProcessShopper()
    cart = shopper.post("carts").body["id"]
    for _ in range(21):
        assert shopper.send("PUT", f"carts/{cart}/items/{create_sku(1)}", {"quantity": 1}).status == 200
    assert order_lines(sku, 21) == 201
    assert shopper.order(items=None, cart_id=cart, email=unique_email()).status == 429
