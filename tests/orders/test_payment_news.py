"""Changes of a payment reach its order: refunds, disputes, late captures, tasks for staff, and expiry asks first."""

import uuid
from io import StringIO

import pytest
from django.core.management import call_command

from contexts.payments.interface import payments
from contexts.payments.providers import sandbox
from contexts.payments.service import captures, refunds, tasks
from shop.chaos import faults
from shop.db.database import execute, fetch_rows
from shop.money import Money
from tests.concurrency import eventually
from tests.engine_driver import run_checkout_timers, run_payment_timers, run_until_idle
from tests.factories import create_sku
from tests.orders.queries import count_charges, payment_of, reservation_of, status_and_step_of, stock_of
from tests.shopper import InProcessShopper
from tests.staff_accounts import sign_in_to_admin

pytestmark = pytest.mark.usefixtures("verified")


@pytest.fixture
def shopper():
    shopper = InProcessShopper()
    shopper.register()
    return shopper


def run_refresh(after):
    out = StringIO()
    call_command("refresh_order_payments", after=after, stdout=out)
    return out.getvalue()


def payment_id_of(order):
    return uuid.UUID(order["payment"]["id"])


def refund(order, amount=None):
    money = Money(amount, "EUR") if amount else None
    refunds.refund(payment_id=payment_id_of(order), amount=money, reason="A scratch", actor="clerk", key=None)
    run_until_idle()


def move_money(order, movement, amount=None):
    reference = f"sb_{payment_id_of(order).hex}"
    sandbox.provider.move_money(reference=reference, movement=sandbox.Movement(movement), amount=amount)


def check_payment(order):
    execute("payments", "UPDATE payments_payment SET check_at = now() WHERE order_id = %s", [order["id"]])
    is_checked = f"SELECT check_at > now() AND due_at IS NULL FROM payments_payment WHERE order_id = '{order['id']}'"
    eventually(lambda: fetch_rows("payments", is_checked) == [(True,)], run_payment_timers)
    run_until_idle()


def timeline_of(shopper, order):
    entries = shopper.get(f"orders/{order['id']}/timeline", X_Order_Token=order.get("token") or "").body["results"]
    return [entry["kind"] for entry in entries]


def money_of(order):
    return {name: order["totals"][name]["amount"] for name in ("paid", "refunded", "due")}


def emails_of(order):
    rows = fetch_rows(
        "notifications",
        "SELECT template FROM notifications_message WHERE order_id = %s AND channel = 'email' ORDER BY id",
        [order["id"]],
    )
    return [template for (template,) in rows]


def test_a_paid_order_shows_what_was_paid(shopper):
    order = shopper.buy(create_sku(1))
    assert (order["payment_status"], money_of(order)) == ("paid", {"paid": 1999, "refunded": 0, "due": 0})
    assert (order["dispute"], order["refunds"]) == ("none", [])


def test_an_unpaid_order_shows_what_is_due(shopper):
    order = shopper.order(create_sku(1), token="tok_requires_action").body
    assert (order["payment_status"], money_of(order)) == ("pending", {"paid": 0, "refunded": 0, "due": 1999})


def test_a_partial_refund_reaches_the_order_and_its_customer(shopper):
    order = shopper.buy(create_sku(1))
    refund(order, 500)
    shown = shopper.get_order(order)
    assert (shown["status"], shown["payment_status"], shown["payment"]["status"]) == (
        "confirmed",
        "partially_refunded",
        "captured",
    )
    assert money_of(shown) == {"paid": 1999, "refunded": 500, "due": 0}
    assert [entry["amount"] for entry in shown["refunds"]] == [{"amount": 500, "currency": "EUR"}]
    assert timeline_of(shopper, order) == ["placed", "confirmed", "paid", "refunded"]
    assert emails_of(order) == ["order_confirmed", "order_refunded"]
    inbox = [message["text"] for message in shopper.get("notifications").body["results"]]
    assert f"5.00 EUR of order {order['number']} was refunded." in inbox


def test_each_refund_is_mailed_once_and_the_last_one_makes_the_order_refunded(shopper):
    order = shopper.buy(create_sku(1))
    refund(order, 500)
    refund(order)
    shown = shopper.get_order(order)
    assert (shown["payment_status"], shown["payment"]["status"], shown["status"]) == (
        "refunded",
        "refunded",
        "confirmed",
    )
    assert money_of(shown) == {"paid": 1999, "refunded": 1999, "due": 0}
    assert emails_of(order) == ["order_confirmed", "order_refunded", "order_refunded"]
    [listed] = [each for each in shopper.get("orders").body["results"] if each["id"] == order["id"]]
    assert listed["payment_status"] == "refunded"


def test_reading_payments_again_reports_what_was_read_and_what_has_changed(shopper):
    order = shopper.buy(create_sku(1))
    run_until_idle()
    before = str(uuid.UUID(int=uuid.UUID(order["id"]).int - 1))
    refunds.refund(
        payment_id=payment_id_of(order), amount=Money(500, "EUR"), reason="A scratch", actor="clerk", key=None
    )
    assert run_refresh(before) == f"{order['id']}  1 order read, 1 updated\n"
    assert run_refresh(before) == f"{order['id']}  1 order read, 0 updated\n"
    run_until_idle()
    assert money_of(shopper.get_order(order)) == {"paid": 1999, "refunded": 500, "due": 0}
    assert emails_of(order) == ["order_confirmed", "order_refunded"]


def test_the_refund_of_a_cancelled_order_is_shown_but_not_mailed_again(shopper):
    order = shopper.buy(create_sku(1))
    shopper.post(f"orders/{order['id']}/cancel")
    run_until_idle()
    shown = shopper.get_order(order)
    assert (shown["payment_status"], money_of(shown)) == ("refunded", {"paid": 1999, "refunded": 1999, "due": 0})
    assert timeline_of(shopper, order) == ["placed", "confirmed", "paid", "cancelled", "refunded"]
    assert emails_of(order) == ["order_confirmed", "order_cancelled"]


def test_a_refund_at_the_provider_reaches_the_order(shopper):
    order = shopper.buy(create_sku(1))
    move_money(order, "refund", 700)
    check_payment(order)
    shown = shopper.get_order(order)
    assert (shown["payment_status"], shown["totals"]["refunded"]["amount"]) == ("partially_refunded", 700)
    assert emails_of(order) == ["order_confirmed", "order_refunded"]


@pytest.mark.parametrize("amount", [None, 700], ids=["all", "a part"])
def test_an_order_that_was_refunded_at_the_provider_can_be_cancelled(shopper, amount):
    sku = create_sku(1)
    order = shopper.buy(sku)
    run_until_idle()
    move_money(order, "refund", amount)
    assert shopper.post(f"orders/{order['id']}/cancel").status == 200
    run_until_idle()
    assert (status_and_step_of(order["id"]), payment_of(order["id"])) == (("cancelled", "closed"), "refunded")
    assert stock_of(sku) == (1, 0)
    assert money_of(shopper.get_order(order))["refunded"] == 1999


def test_a_cancel_whose_refund_is_refused_ends_and_is_a_task_for_staff(shopper):
    sku = create_sku(1)
    order = shopper.buy(sku, token="tok_refund_refused")
    run_until_idle()
    assert shopper.post(f"orders/{order['id']}/cancel").status == 200
    run_until_idle()
    assert (status_and_step_of(order["id"]), stock_of(sku)) == (("cancelled", "closed"), (1, 0))
    assert timeline_of(shopper, order)[-1] == "refund_delayed"
    assert shopper.get_order(order)["payment_status"] == "paid"
    tasks.mark_refunded(payment_id=payment_id_of(order), reason="Bank transfer", actor="clerk")
    run_until_idle()
    shown = shopper.get_order(order)
    assert (shown["payment_status"], money_of(shown)["refunded"]) == ("refunded", 1999)
    assert emails_of(order) == ["order_confirmed", "order_cancelled", "order_refunded"]


def test_a_dispute_reaches_the_order(shopper):
    order = shopper.buy(create_sku(1))
    move_money(order, "dispute")
    check_payment(order)
    assert shopper.get_order(order)["dispute"] == "open"
    assert "dispute_open" in timeline_of(shopper, order)
    tasks.accept(payment_id=payment_id_of(order), reason="Answered", actor="clerk")
    run_until_idle()
    [(attention,)] = fetch_rows(
        "orders", "SELECT attention FROM orders_orderpayment WHERE order_id = %s", [order["id"]]
    )
    assert attention == ""


def test_a_refused_capture_that_succeeds_later_takes_the_order_off_hold(shopper):
    order = shopper.buy(create_sku(1), token="tok_capture_refused")
    assert order["status"] == "on_hold"
    move_money(order, "allow")
    captures.capture(payment_id=payment_id_of(order), actor="clerk")
    run_until_idle()
    assert status_and_step_of(order["id"]) == ("confirmed", "done")
    assert shopper.get_order(order)["payment_status"] == "paid"


def test_the_schedule_takes_an_order_off_hold(shopper):
    order = shopper.buy(create_sku(1), token="tok_capture_refused_once")
    check_payment(order)
    assert status_and_step_of(order["id"]) == ("confirmed", "done")


def test_a_capture_of_a_part_keeps_the_order_on_hold(shopper):
    order = shopper.buy(create_sku(1), token="tok_capture_refused")
    move_money(order, "capture", 1000)
    check_payment(order)
    shown = shopper.get_order(order)
    assert (shown["status"], shown["payment_status"], money_of(shown)["due"]) == ("on_hold", "partially_paid", 999)
    shopper.post(f"orders/{order['id']}/cancel")
    run_until_idle()
    assert (status_and_step_of(order["id"]), payment_of(order["id"])) == (("cancelled", "closed"), "refunded")


def test_staff_void_a_payment_and_the_order_is_cancelled(shopper):
    sku = create_sku(1)
    order = shopper.buy(sku, token="tok_capture_refused")
    run_until_idle()
    captures.void(payment_id=payment_id_of(order), actor="clerk")
    run_until_idle()
    assert (status_and_step_of(order["id"]), stock_of(sku)) == (("cancelled", "closed"), (1, 0))


def approve_unnoticed(order):
    """Approve a payment at the provider, whose news to the shop is lost."""
    sandbox.provider.approve(reference=f"sb_{payment_id_of(order).hex}")


def test_an_order_that_was_paid_in_time_is_confirmed_although_the_news_was_lost(shopper, settings):
    settings.RESERVATION_HOLD_SECONDS = 1.0
    order = shopper.order(create_sku(1), token="tok_requires_action").body
    approve_unnoticed(order)
    eventually(lambda: status_and_step_of(order["id"])[1] in ("done", "closed"), run_checkout_timers, run_until_idle)
    assert (shopper.get_order(order)["status"], count_charges(order["id"])) == ("confirmed", 1)


def test_an_order_does_not_expire_while_the_provider_cannot_be_asked(shopper, settings, in_one_process):
    settings.RESERVATION_HOLD_SECONDS = 0.3
    sku = create_sku(1)
    order = shopper.order(sku, token="tok_requires_action").body
    approve_unnoticed(order)
    faults.arm("provider.sandbox.*.before:p=1:raise")
    try:
        for _ in range(3):
            execute("orders", "UPDATE orders_order SET due_at = now(), expires_at = now() WHERE id = %s", [order["id"]])
            run_checkout_timers()
            run_until_idle()
        assert status_and_step_of(order["id"]) == ("pending", "authorizing")
        assert reservation_of(order["id"]) == "held"
    finally:
        faults.disarm()
    eventually(lambda: status_and_step_of(order["id"])[1] == "done", run_checkout_timers, run_until_idle)
    assert count_charges(order["id"]) == 1


def test_an_order_on_hold_is_not_cancelled_when_the_money_was_captured_after_all(shopper):
    order = shopper.buy(create_sku(1), token="tok_capture_refused")
    move_money(order, "capture")
    execute("orders", "UPDATE orders_order SET expires_at = now(), due_at = now() WHERE id = %s", [order["id"]])
    eventually(lambda: status_and_step_of(order["id"])[1] in ("done", "closed"), run_checkout_timers, run_until_idle)
    assert status_and_step_of(order["id"]) == ("confirmed", "done")


def test_an_order_without_a_payment_has_nothing_to_synchronize():
    assert payments.sync(order_id=uuid.uuid4()) is None


@pytest.mark.parametrize("amount", [None, 500], ids=["all", "a part"])
def test_a_refund_that_the_bank_returns_is_shown_by_the_order(shopper, amount, error_log):
    order = shopper.buy(create_sku(1))
    refund(order, amount)
    move_money(order, "refund_failed")
    check_payment(order)
    shown = shopper.get_order(order)
    assert (shown["payment_status"], money_of(shown)) == ("paid", {"paid": 1999, "refunded": 0, "due": 0})
    assert [(entry["amount"]["amount"], entry["status"]) for entry in shown["refunds"]] == [(amount or 1999, "failed")]
    assert timeline_of(shopper, order)[-2:] == ["refunded", "refund_failed"]
    assert attention_of(order) == "refund_failed"
    tasks.retry(payment_id=payment_id_of(order), actor="clerk")
    run_until_idle()
    shown = shopper.get_order(order)
    assert (shown["payment_status"], attention_of(order)) == ("partially_refunded" if amount else "refunded", "")
    assert [entry["status"] for entry in shown["refunds"]] == ["failed", "done"]


def test_a_cancelled_order_whose_refund_the_bank_returns_is_not_refunded(shopper, error_log):
    order = shopper.buy(create_sku(1))
    shopper.post(f"orders/{order['id']}/cancel")
    run_until_idle()
    move_money(order, "refund_failed")
    check_payment(order)
    shown = shopper.get_order(order)
    assert (shown["status"], shown["payment_status"], money_of(shown)["refunded"]) == ("cancelled", "paid", 0)
    tasks.mark_refunded(payment_id=payment_id_of(order), reason="Bank transfer", actor="clerk")
    run_until_idle()
    assert shopper.get_order(order)["payment_status"] == "refunded"


def attention_of(order):
    [(attention,)] = fetch_rows(
        "orders", "SELECT attention FROM orders_orderpayment WHERE order_id = %s", [order["id"]]
    )
    return attention


def test_a_part_that_staff_capture_keeps_the_order_on_hold_until_the_rest_is_captured(shopper, error_log):
    order = shopper.buy(create_sku(1), token="tok_capture_refused")
    move_money(order, "allow")
    captures.capture(payment_id=payment_id_of(order), actor="clerk", amount=Money(1200, "EUR"))
    run_until_idle()
    shown = shopper.get_order(order)
    assert (shown["status"], shown["payment_status"]) == ("on_hold", "partially_paid")
    assert money_of(shown) == {"paid": 1200, "refunded": 0, "due": 799}
    captures.capture(payment_id=payment_id_of(order), actor="clerk")
    run_until_idle()
    shown = shopper.get_order(order)
    assert (shown["status"], shown["payment_status"], attention_of(order)) == ("confirmed", "paid", "")


def test_an_order_of_which_a_part_was_captured_is_cancelled_and_refunded(shopper, error_log):
    sku = create_sku(1)
    order = shopper.buy(sku, token="tok_capture_refused")
    move_money(order, "allow")
    captures.capture(payment_id=payment_id_of(order), actor="clerk", amount=Money(1200, "EUR"))
    run_until_idle()
    assert shopper.post(f"orders/{order['id']}/cancel").status == 200
    run_until_idle()
    shown = shopper.get_order(order)
    assert (shown["status"], shown["payment_status"], money_of(shown)["refunded"]) == ("cancelled", "refunded", 1200)
    assert stock_of(sku) == (1, 0)


def test_the_numbers_of_older_orders_reach_their_payments(shopper):
    order = shopper.buy(create_sku(1))
    execute("payments", "UPDATE payments_payment SET order_number = '' WHERE order_id = %s", [order["id"]])
    run_checkout_timers()
    number = fetch_rows("payments", "SELECT order_number FROM payments_payment WHERE order_id = %s", [order["id"]])
    assert number == [(order["number"],)]


def test_the_page_of_an_order_shows_staff_its_refunds(shopper):
    order = shopper.buy(create_sku(1))
    refund(order, 500)
    html = sign_in_to_admin("*").get(f"/admin/orders/order/{order['id']}/change/").content.decode()
    assert "partially refunded" in html and "5.00 EUR" in html
    assert html.count("was refunded") == 1, "the timeline"


def test_the_response_to_a_cancel_shows_what_was_refunded_before(shopper):
    order = shopper.buy(create_sku(1))
    refund(order, 500)
    assert money_of(shopper.post(f"orders/{order['id']}/cancel").body)["refunded"] >= 500
