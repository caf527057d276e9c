"""An order that is pending or on hold is paid in another way; one attempt at a time can take money."""

import uuid

import pytest

from contexts.orders.interface import OrderStatus
from contexts.payments.interface import PaymentMethod, PaymentProcessing, PaymentStatus, payments
from contexts.payments.providers import sandbox
from shop.db.database import execute, fetch_rows
from shop.errors import list_error_classes
from tests.concurrency import repeat_concurrently, run_before_statement
from tests.engine_driver import run_until_idle
from tests.factories import create_sku
from tests.orders.queries import status_and_step_of, stock_of
from tests.payments.operations import authorize, get_payment, reconcile_to_status
from tests.shopper import InProcessShopper

pytestmark = pytest.mark.usefixtures("verified")


@pytest.fixture
def shopper():
    shopper = InProcessShopper()
    shopper.register()
    return shopper


def pay(shopper, order, token="tok_ok", key="", provider="sandbox"):
    body = {"payment_method": {"provider": provider, "token": token}}
    return shopper.post(f"orders/{order['id']}/payment", body, Idempotency_Key=key or uuid.uuid4().hex)


def intents_of(order):
    return fetch_rows(
        "payments",
        """SELECT status, captured, charges FROM payments_sandboxintent WHERE reference IN (
             SELECT reference FROM payments_payment WHERE order_id = %s UNION
             SELECT attempt.reference FROM payments_paymentattempt attempt JOIN payments_payment paid ON paid.id = payment_id
             WHERE order_id = %s) ORDER BY status""",
        [order["id"], order["id"]],
    )


@pytest.mark.parametrize("token", ["tok_capture_refused", "tok_requires_action"])
def test_an_order_is_paid_with_another_card(shopper, token):
    order = shopper.buy(create_sku(1), token=token)
    paid = pay(shopper, order)
    assert (paid.status, paid.body["status"]) == (200, "confirmed")
    run_until_idle()
    assert [(status, captured) for status, captured, _ in intents_of(order)] == [("cancelled", 0), ("captured", 1999)]
    assert shopper.get_order(order)["payment_status"] == "paid"
    assert status_and_step_of(order["id"]) == ("confirmed", "done")


def test_a_repeat_with_the_same_key_starts_no_other_attempt(shopper):
    order, key = shopper.buy(create_sku(1), token="tok_capture_refused"), uuid.uuid4().hex
    answers = [pay(shopper, order, key=key) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 200]
    assert len(intents_of(order)) == 2
    assert pay(shopper, order, "tok_other", key=key).status == 422


@pytest.mark.usefixtures("in_one_process")
def test_a_double_click_of_which_the_first_pays_the_order_is_no_second_payment(shopper, settings):
    """The second request has looked up its key before the first one stores it."""
    settings.RATE_LIMITS, settings.RATE_LIMIT_DECLINED_PAYMENTS = True, "account:1000/hour"
    order, key = shopper.buy(create_sku(1), token="tok_capture_refused"), uuid.uuid4().hex
    with run_before_statement("orders", "shop_ratelimit", lambda: pay(shopper, order, key=key)) as first:
        second = pay(shopper, order, key=key)
    assert (first[0].status, first[0].body["status"]) == (200, "confirmed")
    assert (second.status, second.body["code"]) == (409, "shop.idempotency_key_in_flight")
    assert second.headers["retry-after"] == "1"
    assert pay(shopper, order, key=key).body == first[0].body


def test_a_declined_card_leaves_an_order_on_hold_which_can_be_paid_again(shopper):
    order = shopper.buy(create_sku(1), token="tok_capture_refused")
    declined = pay(shopper, order, "tok_declined")
    assert (declined.status, declined.body["code"]) == (402, "payments.declined")
    run_until_idle()
    assert status_and_step_of(order["id"]) == ("on_hold", "capturing")
    assert pay(shopper, order).body["status"] == "confirmed"


def test_a_declined_card_ends_a_pending_order(shopper):
    sku = create_sku(1)
    order = shopper.order(sku, token="tok_requires_action").body
    assert pay(shopper, order, "tok_declined").status == 402
    run_until_idle()
    assert (status_and_step_of(order["id"]), stock_of(sku)) == (("rejected", "closed"), (1, 0))


def test_an_order_on_hold_waits_for_its_customer_and_is_confirmed_then(shopper):
    order = shopper.buy(create_sku(1), token="tok_capture_refused")
    waiting = pay(shopper, order, "tok_requires_action")
    assert (waiting.status, waiting.body["status"]) == (202, "on_hold")
    reference = waiting.body["payment"]["action"]["url"].split("/")[-2]
    assert shopper.post(f"payments/sandbox/{reference}/approve").status == 200
    run_until_idle()
    assert status_and_step_of(order["id"]) == ("confirmed", "done")


def test_a_paid_or_ended_order_is_not_paid_again(shopper):
    paid = shopper.order(create_sku(1)).body
    assert pay(shopper, paid).body["code"] == "orders.not_payable"
    cancelled = shopper.buy(create_sku(1), token="tok_capture_refused")
    shopper.post(f"orders/{cancelled['id']}/cancel")
    run_until_idle()
    assert pay(shopper, cancelled).body["code"] == "orders.not_payable"
    assert pay(shopper, cancelled, provider="unknown").status == 400


def test_a_payment_that_meets_a_cancel_is_not_answered_with_success(shopper):
    order, key = shopper.order(create_sku(1), token="tok_requires_action").body, uuid.uuid4().hex
    assert pay(shopper, order, "tok_requires_action", key=key).status == 202
    shopper.post(f"orders/{order['id']}/cancel")
    run_until_idle()
    late = pay(shopper, order, "tok_requires_action", key=key)
    assert late.status == 409, late.body
    assert (late.body["code"], late.body["facts"]["present"]) == ("orders.not_payable", "cancelled")
    assert [status for status, _, _ in intents_of(order)] == ["cancelled", "cancelled"]


def test_parallel_attempts_with_different_cards_charge_once(shopper):
    order = shopper.buy(create_sku(1), token="tok_capture_refused")
    repeat_concurrently(5, lambda number: pay(shopper, order))
    run_until_idle()
    assert sum(captured for _, captured, _ in intents_of(order)) == 1999
    assert status_and_step_of(order["id"]) == ("confirmed", "done")


def test_an_authorized_payment_is_not_replaced():
    payment = authorize()
    with pytest.raises(PaymentProcessing, match="A payment that is authorized cannot be replaced"):
        payments.pay_again(
            order_id=payment.order_id, attempt_id=uuid.uuid4(), method=PaymentMethod(provider="sandbox", token="tok_ok")
        )


@pytest.mark.parametrize("status", [*PaymentStatus, *OrderStatus])
def test_an_error_names_the_status_in_words(status):
    loaded = [error for error in list_error_classes() if "present" in error.list_facts()]
    about = [error for error in loaded if error.code.startswith("payments.") == isinstance(status, PaymentStatus)]
    assert len(about) > 1
    for error in about:
        conflict = error(present=status)
        assert "_" not in str(conflict), conflict
        assert conflict.facts["present"] == status


def test_an_intent_that_was_captured_meanwhile_stays_the_payment():
    payment = payments.capture(order_id=authorize("tok_capture_refused").order_id)
    sandbox.provider.move_money(reference=f"sb_{payment.id.hex}", movement=sandbox.Movement.CAPTURE)
    after = payments.pay_again(
        order_id=payment.order_id, attempt_id=uuid.uuid4(), method=PaymentMethod(provider="sandbox", token="tok_ok")
    )
    assert (after.status, after.captured.amount) == ("captured", 2000)
    assert fetch_rows("payments", "SELECT reference, next_token FROM payments_payment WHERE id = %s", [payment.id]) == [
        (f"sb_{payment.id.hex}", "")
    ]


def test_an_attempt_that_died_after_its_first_write_is_resumed():
    payment = payments.capture(order_id=authorize("tok_capture_refused").order_id)
    execute(
        "payments",
        """UPDATE payments_payment SET next_attempt = gen_random_uuid(), next_provider = 'sandbox', next_token = 'tok_ok',
               due_at = now() WHERE id = %s""",
        [payment.id],
    )
    reconcile_to_status(payment.order_id, "authorized")
    assert payments.capture(order_id=payment.order_id).status == "captured"


def test_a_cancel_ends_the_attempt_that_waits():
    payment = payments.capture(order_id=authorize("tok_capture_refused").order_id)
    execute(
        "payments",
        "UPDATE payments_payment SET next_attempt = gen_random_uuid(), next_provider = 'sandbox', next_token = 'tok_ok' "
        "WHERE id = %s",
        [payment.id],
    )
    assert payments.cancel(order_id=payment.order_id).status == "voided"
    assert get_payment(payment.order_id).status == "voided"
