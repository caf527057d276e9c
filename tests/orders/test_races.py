"""Races in the checkout. Each guard has a negative control: without the guard, the same run fails."""

import threading
import uuid
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.conf import settings as configured
from django.db import connections

from contexts.inventory.service import LocalInventory
from contexts.orders.models import Order, Step
from contexts.orders.service import orders
from contexts.payments.interface import payments
from shop.calls import services
from shop.db import leases
from shop.db.database import execute, fetch_rows, transaction
from shop.db.leases import LeaseLost
from tests.concurrency import eventually, repeat_concurrently, run_concurrently
from tests.engine_driver import run_checkout_timers, run_payment_timers, run_until_idle
from tests.factories import create_sku
from tests.orders.queries import (
    assert_stock_adds_up,
    count_charges,
    payment_of,
    reservation_of,
    status_and_step_of,
    stock_of,
)
from tests.shopper import InProcessShopper

pytestmark = pytest.mark.usefixtures("verified")

BUYERS = 50


def orders_of(email: str) -> list[tuple]:
    return fetch_rows("orders", "SELECT id, status, step FROM orders_order WHERE email = %s", [email])


def unique_email() -> str:
    return f"{uuid.uuid4().hex}@example.com"


def test_the_last_unit_is_sold_once_to_fifty_buyers(shopper):
    sku = create_sku(1)
    answers = repeat_concurrently(BUYERS, lambda _: shopper.order(sku))
    assert sorted(answer.status for answer in answers) == [201] + [409] * (BUYERS - 1)
    run_until_idle()
    assert stock_of(sku) == (0, 0)
    assert_stock_adds_up(sku)


def test_carts_with_opposite_orders_of_skus_do_not_deadlock(shopper):
    one, two = create_sku(100), create_sku(100)
    answers = repeat_concurrently(20, lambda n: shopper.order(*((one, two) if n % 2 else (two, one))))
    assert {answer.status for answer in answers} == {201}
    run_until_idle()
    assert stock_of(one) == stock_of(two) == (80, 0)


def buy_with_one_key(shopper: InProcessShopper) -> tuple[list, list]:
    """Send one order request many times at once; return the responses and the orders."""
    sku, email, key = create_sku(BUYERS), unique_email(), uuid.uuid4().hex
    answers = repeat_concurrently(BUYERS, lambda _: shopper.order(sku, key=key, email=email))
    return answers, orders_of(email)


def test_one_key_sent_fifty_times_at_once_makes_one_order(shopper):
    answers, made = buy_with_one_key(shopper)
    assert len(made) == 1
    assert {answer.status for answer in answers} <= {201, 409}
    bought = {answer.content for answer in answers if answer.status == 201}
    assert len(bought) == 1, "every final response is the same, to the byte"
    refused = [answer for answer in answers if answer.status == 409]
    assert {answer.body["code"] for answer in refused} <= {"shop.idempotency_key_in_flight"}
    assert all(answer.headers["retry-after"] == "1" for answer in refused)


@contextmanager
def keys_not_unique():
    """Switch the guard off: each key is stored with a random suffix."""
    with connections["orders"].cursor() as cursor:
        cursor.execute(
            """CREATE FUNCTION salt() RETURNS trigger LANGUAGE plpgsql AS
               'BEGIN NEW.key := left(NEW.key, 16) || gen_random_uuid(); RETURN NEW; END';
               CREATE TRIGGER salt BEFORE INSERT ON shop_idempotencykey FOR EACH ROW EXECUTE FUNCTION salt()"""
        )
    try:
        yield
    finally:
        with connections["orders"].cursor() as cursor:
            cursor.execute("DROP TRIGGER salt ON shop_idempotencykey; DROP FUNCTION salt()")


def test_control_without_the_unique_key_there_are_many_orders(shopper):
    with keys_not_unique():
        _, made = buy_with_one_key(shopper)
    assert len(made) > 1


def test_the_same_key_answers_the_same_afterwards_and_another_body_is_refused(shopper):
    sku, key = create_sku(3), uuid.uuid4().hex
    first = shopper.order(sku, key=key)
    assert shopper.order(sku, key=key).content == first.content
    other = shopper.order(sku, key=key, items=[{"sku": sku, "quantity": 2}])
    assert (other.status, other.body["code"]) == (422, "shop.idempotency_key_reused")
    declined = shopper.order(sku, key=key + "x", token="tok_declined")
    assert shopper.order(sku, key=key + "x", token="tok_declined").content == declined.content


def test_the_same_key_of_another_customer_is_independent(shopper):
    sku, key = create_sku(3), uuid.uuid4().hex
    mine = shopper.order(sku, key=key, email=unique_email())
    other = shopper.order(sku, key=key, email=unique_email())
    assert mine.body["id"] != other.body["id"]


@pytest.mark.parametrize("attempt", range(6))
def test_a_cancel_concurrent_with_the_checkout_leaves_nothing_behind(shopper, attempt):
    sku, email = create_sku(1), unique_email()

    def buy_or_cancel(number: int):
        if number == 0:
            return shopper.order(sku, email=email)
        eventually(lambda: orders_of(email))
        return orders.request_cancel(orders_of(email)[0][0])

    repeat_concurrently(2, buy_or_cancel)
    [(order_id, _, _)] = orders_of(email)
    eventually(lambda: orders_of(email)[0][2] == "closed", run_checkout_timers, run_payment_timers, run_until_idle)
    assert orders_of(email)[0][1] == "cancelled"
    assert payment_of(order_id) in (None, "voided", "refunded")
    assert stock_of(sku) == (1, 0)
    assert_stock_adds_up(sku)


@pytest.mark.parametrize("milliseconds", [0, 40, 80, 120, 160, 200, 260])
def test_expiry_concurrent_with_payment_has_one_outcome(shopper, settings, milliseconds):
    settings.RESERVATION_HOLD_SECONDS = 0.15
    sku = create_sku(1)
    order = shopper.order(sku, token="tok_requires_action").body
    approve = "/" + order["payment"]["action"]["url"].split("/", 3)[3]
    due = timedelta(milliseconds=milliseconds)

    def pay_or_expire(number: int):
        is_time = "SELECT now() >= created_at + %s FROM orders_order WHERE id = %s"
        eventually(lambda: fetch_rows("orders", is_time, [due, order["id"]])[0][0])
        if number:
            shopper.post(approve)
        else:
            run_checkout_timers()

    repeat_concurrently(2, pay_or_expire)
    eventually(
        lambda: status_and_step_of(order["id"])[1] in ("done", "closed"),
        run_checkout_timers,
        run_payment_timers,
        run_until_idle,
    )
    status, _ = status_and_step_of(order["id"])
    if status == "confirmed":
        assert (payment_of(order["id"]), stock_of(sku)) == ("captured", (0, 0))
    else:
        assert (status, payment_of(order["id"]), stock_of(sku)) == ("rejected", "voided", (1, 0))


def waiting_order(shopper: InProcessShopper) -> uuid.UUID:
    return uuid.UUID(shopper.order(create_sku(1), token="tok_requires_action").body["id"])


def paused_worker(order_id: uuid.UUID) -> Order:
    """Take the lease of an order, as a worker that is then paused for longer than the lease lasts."""
    worker = leases.acquire_lease(Order, "orders", order_id)
    execute("orders", "UPDATE orders_order SET lease_until = now() - interval '1 second' WHERE id = %s", [order_id])
    return worker


def test_a_worker_that_lost_its_lease_writes_nothing(shopper):
    order_id = waiting_order(shopper)
    paused = paused_worker(order_id)
    orders.request_cancel(order_id)
    paused.cancel_requested_at, paused.step = None, Step.CONFIRMING
    with pytest.raises(LeaseLost):
        orders.run_checkout(paused)
    assert status_and_step_of(order_id) == ("cancelled", "closed")
    run_until_idle()
    assert reservation_of(order_id) == "released"


def test_control_without_the_fence_the_worker_overwrites_the_final_status(shopper):
    order_id = waiting_order(shopper)
    paused = paused_worker(order_id)
    orders.request_cancel(order_id)
    unfenced = Order.objects.filter(pk=paused.pk)
    assert unfenced.update(status="confirmed", step="capturing") == 1
    assert status_and_step_of(order_id)[0] == "confirmed", "a cancelled order was confirmed"
    unfenced.update(status="cancelled", step="closed")


def test_the_holder_of_a_busy_lease_sees_a_new_request(shopper):
    order_id = waiting_order(shopper)
    holder = leases.acquire_lease(Order, "orders", order_id)
    assert leases.acquire_lease(Order, "orders", order_id) is None
    Order.objects.filter(pk=order_id).update(cancel_requested_at=holder.acquired_at)
    orders.run_checkout(holder)
    assert holder.status == "cancelled", "the holder read the request before it released the lease"


def capture_while_a_cancel_is_requested(shopper: InProcessShopper, *, wake: bool) -> tuple[str, str]:
    """Request a cancel while a worker is about to capture; the requesting process dies right after the request."""
    order_id = uuid.UUID(shopper.buy(create_sku(1), token="tok_capture_timeout_then_ok")["id"])
    holder = leases.acquire_lease(Order, "orders", order_id)
    orders.record_cancel_request(order_id)
    if not wake:
        execute("orders", "UPDATE orders_order SET woken = false WHERE id = %s", [order_id])
    eventually(lambda: payment_of(order_id) == "captured", run_payment_timers)
    orders.run_checkout(holder)
    return status_and_step_of(str(order_id))


def test_a_cancel_whose_requester_died_is_carried_out_by_the_holder(shopper):
    assert capture_while_a_cancel_is_requested(shopper, wake=True) == ("cancelled", "closed")


def test_control_without_the_woken_flag_the_cancel_is_lost(shopper):
    assert capture_while_a_cancel_is_requested(shopper, wake=False) == ("confirmed", "done")
    run_checkout_timers()


@pytest.mark.breaks("order_path")
def test_a_resumed_order_with_a_refused_capture_goes_on_hold_despite_a_wakeup(shopper):
    order_id = shopper.buy(create_sku(1), token="tok_capture_refused")["id"]
    execute("orders", "UPDATE orders_order SET status = 'confirmed' WHERE id = %s", [order_id])
    holder = leases.acquire_lease(Order, "orders", uuid.UUID(order_id))
    assert leases.acquire_lease(Order, "orders", uuid.UUID(order_id)) is None
    orders.run_checkout(holder)
    assert holder.status == "on_hold"
    assert status_and_step_of(order_id) == ("on_hold", "capturing")


def test_an_order_paid_before_expiry_is_confirmed(shopper, settings):
    settings.RESERVATION_HOLD_SECONDS = 0.1
    sku = create_sku(1)
    order = shopper.order(sku, token="tok_requires_action").body
    shopper.post("/" + order["payment"]["action"]["url"].split("/", 3)[3])
    eventually(
        lambda: status_and_step_of(order["id"])[1] == "done", run_checkout_timers
    )  # before the event of the payment is delivered
    run_until_idle()
    assert (status_and_step_of(order["id"])[0], payment_of(order["id"]), stock_of(sku)) == (
        "confirmed",
        "captured",
        (0, 0),
    )


def test_an_order_whose_payment_was_cancelled_before_capture_is_cancelled(shopper):
    sku = create_sku(1)
    order_id = uuid.UUID(shopper.buy(sku, token="tok_capture_refused")["id"])
    run_until_idle()
    payments.cancel(order_id=order_id)
    execute("orders", "UPDATE orders_order SET due_at = now() WHERE id = %s", [order_id])
    eventually(lambda: status_and_step_of(str(order_id)) == ("cancelled", "closed"), run_checkout_timers)
    assert stock_of(sku) == (1, 0)


def test_a_locked_order_does_not_block_the_sweep(shopper, settings):
    settings.RESERVATION_HOLD_SECONDS = 0.1
    stuck, other = waiting_order(shopper), waiting_order(shopper)
    written, done = threading.Event(), threading.Event()

    def lock_order() -> None:
        with transaction("orders"):
            execute("orders", "UPDATE orders_order SET tries = tries WHERE id = %s", [stuck])
            written.set()
            done.wait(10)

    def sweep() -> None:
        written.wait(10)
        eventually(lambda: status_and_step_of(str(other))[0] == "rejected", run_checkout_timers)
        done.set()

    assert run_concurrently(lock_order, sweep) == [None, None]
    eventually(lambda: status_and_step_of(str(stuck))[0] == "rejected", run_checkout_timers)


def test_an_order_waits_while_the_inventory_database_is_down(shopper):
    """The connection is terminated during the reservation: the order waits and is confirmed once inventory is back."""
    sku, email = create_sku(1), unique_email()
    services.configure({"inventory": "tests.orders.test_races.CutOffInventory"}, "local")
    try:
        answer = shopper.order(sku, email=email)
    finally:
        services.configure(configured.SERVICES, configured.TRANSPORT)
    assert (answer.status, answer.body["status"]) == (202, "pending")
    eventually(lambda: orders_of(email)[0][1] == "confirmed", run_checkout_timers)
    assert count_charges(orders_of(email)[0][0]) == 1


class CutOffInventory(LocalInventory):
    """Inventory whose database session is terminated by the server while it reserves."""

    def quote(self, *, skus: tuple[str, ...]) -> tuple:
        return super().quote(skus=skus)

    def offers(self, *, skus: tuple[str, ...]) -> tuple:
        return super().offers(skus=skus)

    def reserve(self, **arguments) -> None:
        fetch_rows("inventory", "SELECT pg_terminate_backend(pg_backend_pid())")

    def release(self, **arguments) -> None:
        fetch_rows("inventory", "SELECT pg_terminate_backend(pg_backend_pid())")


@pytest.mark.parametrize("alias", configured.CONTEXTS)
def test_every_session_has_lock_and_statement_timeouts(alias):
    for name, value in (
        ("lock_timeout", "5s"),
        ("statement_timeout", "15s"),
        ("idle_in_transaction_session_timeout", "15s"),
    ):
        assert fetch_rows(alias, f"SHOW {name}") == [(value,)]


def test_a_process_may_pause_in_a_transaction_for_as_long_as_a_statement_may_take():
    sql = "SELECT setting::int FROM pg_settings WHERE name IN (%s, %s) ORDER BY name"
    [[pause], [statement]] = fetch_rows("orders", sql, ["idle_in_transaction_session_timeout", "statement_timeout"])
    assert pause >= statement > 0  # milliseconds: a busy machine alone costs a request no transaction


def test_an_order_of_a_dead_process_is_resumed(shopper):
    order_id = waiting_order(shopper)
    order = leases.acquire_lease(Order, "orders", order_id)
    Order.objects.filter(pk=order_id).update(step="reserving", due_at=order.acquired_at)
    execute("orders", "UPDATE orders_order SET lease_until = now() - interval '1 second' WHERE id = %s", [order_id])
    eventually(lambda: status_and_step_of(order_id) == ("pending", "authorizing"), run_checkout_timers)
    assert count_charges(order_id) == 0
