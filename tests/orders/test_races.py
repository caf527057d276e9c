"""Races on the order path. Each guard has a negative control: with it off, the same run goes wrong."""

import threading
import uuid
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.conf import settings as configured
from django.db import connections

from contexts.inventory.service import LocalInventory
from contexts.orders import saga
from contexts.orders.models import Order
from contexts.orders.service import checkout
from contexts.payments.interface import payments
from shop import leases, services
from shop.database import changed, rows, transaction
from shop.leases import Fenced
from tests.inventory.stock import stocked
from tests.orders.books import charges, orders_of_id, payment_of, reservation_of, stock_of, units_add_up
from tests.orders.clockwork import reconcile, run_until_idle, sweep
from tests.shopper import InProcess
from tests.threads import at_once, crowd, eventually

pytestmark = pytest.mark.usefixtures("verified")

BUYERS = 50


@pytest.fixture
def shopper():
    return InProcess()


def orders_of(email: str) -> list[tuple]:
    return rows("orders", "SELECT id, status, step FROM orders_order WHERE email = %s", [email])


def unique_email() -> str:
    return f"{uuid.uuid4().hex}@example.com"


def test_the_last_unit_is_sold_once_to_fifty_buyers(shopper):
    sku = stocked(1)
    answers = crowd(BUYERS, lambda _: shopper.order(sku))
    assert sorted(answer.status for answer in answers) == [201] + [409] * (BUYERS - 1)
    run_until_idle()
    assert stock_of(sku) == (0, 0)
    units_add_up(sku)


def test_carts_with_opposite_orders_of_skus_do_not_deadlock(shopper):
    one, two = stocked(100), stocked(100)
    answers = crowd(20, lambda n: shopper.order(*((one, two) if n % 2 else (two, one))))
    assert {answer.status for answer in answers} == {201}
    run_until_idle()
    assert stock_of(one) == stock_of(two) == (80, 0)


def buy_with_one_key(shopper: InProcess) -> tuple[list, list]:
    sku, email, key = stocked(BUYERS), unique_email(), uuid.uuid4().hex
    answers = crowd(BUYERS, lambda _: shopper.order(sku, key=key, email=email))
    return answers, orders_of(email)


def test_one_key_sent_fifty_times_at_once_makes_one_order(shopper):
    answers, made = buy_with_one_key(shopper)
    assert len(made) == 1
    assert {answer.status for answer in answers} <= {201, 409}
    bought = {answer.content for answer in answers if answer.status == 201}
    assert len(bought) == 1, "every final answer is the same, to the byte"
    refused = [answer for answer in answers if answer.status == 409]
    assert {answer.body["code"] for answer in refused} <= {"shop.idempotency_key_in_flight"}
    assert all(answer.headers["retry-after"] == "1" for answer in refused)


@contextmanager
def keys_not_unique():
    """The guard off: the database sees a different key each time."""
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
    sku, key = stocked(3), uuid.uuid4().hex
    first = shopper.order(sku, key=key)
    assert shopper.order(sku, key=key).content == first.content
    other = shopper.order(sku, key=key, items=[{"sku": sku, "quantity": 2}])
    assert (other.status, other.body["code"]) == (422, "shop.idempotency_key_reused")
    declined = shopper.order(sku, key=key + "x", token="tok_declined")
    assert shopper.order(sku, key=key + "x", token="tok_declined").content == declined.content


def test_the_key_of_somebody_else_is_another_key(shopper):
    sku, key = stocked(3), uuid.uuid4().hex
    mine = shopper.order(sku, key=key, email=unique_email())
    other = shopper.order(sku, key=key, email=unique_email())
    assert mine.body["id"] != other.body["id"]


@pytest.mark.parametrize("attempt", range(6))
def test_a_cancel_against_the_running_checkout_leaves_nothing_behind(shopper, attempt):
    sku, email = stocked(1), unique_email()

    def buy_or_cancel(number: int):
        if number == 0:
            return shopper.order(sku, email=email)
        eventually(lambda: orders_of(email))
        return checkout.request_cancel(orders_of(email)[0][0])

    crowd(2, buy_or_cancel)
    [(order_id, _, _)] = orders_of(email)
    eventually(lambda: orders_of(email)[0][2] == "closed", sweep, reconcile, run_until_idle)
    assert orders_of(email)[0][1] == "cancelled"
    assert payment_of(order_id) in (None, "voided", "refunded")
    assert stock_of(sku) == (1, 0)
    units_add_up(sku)


@pytest.mark.parametrize("milliseconds", [0, 40, 80, 120, 160, 200, 260])
def test_expiry_against_payment_ends_in_one_or_the_other(shopper, settings, milliseconds):
    settings.RESERVATION_HOLD_SECONDS = 0.15
    sku = stocked(1)
    order = shopper.order(sku, token="tok_requires_action").body
    approve = "/" + order["payment"]["action"]["url"].split("/", 3)[3]
    due = timedelta(milliseconds=milliseconds)

    def pay_or_expire(number: int):
        is_time = "SELECT now() >= created_at + %s FROM orders_order WHERE id = %s"
        eventually(lambda: rows("orders", is_time, [due, order["id"]])[0][0])
        if number:
            shopper.post(approve)
        else:
            sweep()

    crowd(2, pay_or_expire)
    eventually(lambda: orders_of_id(order["id"])[1] in ("done", "closed"), sweep, reconcile, run_until_idle)
    status, _ = orders_of_id(order["id"])
    if status == "confirmed":
        assert (payment_of(order["id"]), stock_of(sku)) == ("captured", (0, 0))
    else:
        assert (status, payment_of(order["id"]), stock_of(sku)) == ("rejected", "voided", (1, 0))


def waiting_order(shopper: InProcess) -> uuid.UUID:
    return uuid.UUID(shopper.order(stocked(1), token="tok_requires_action").body["id"])


def paused_worker(order_id: uuid.UUID) -> Order:
    """A worker that took the lease, and was then stopped for longer than the lease lasts."""
    worker = leases.take(Order, "orders", order_id)
    changed("orders", "UPDATE orders_order SET lease_until = now() - interval '1 second' WHERE id = %s", [order_id])
    return worker


def test_a_worker_that_lost_its_lease_writes_nothing(shopper):
    order_id = waiting_order(shopper)
    zombie = paused_worker(order_id)
    checkout.request_cancel(order_id)
    zombie.cancel_requested_at, zombie.step = None, Order.Step.CONFIRMING
    with pytest.raises(Fenced):
        saga.carry_on(zombie)
    assert orders_of_id(order_id) == ("cancelled", "closed")
    run_until_idle()
    assert reservation_of(order_id) == "released"


def test_control_without_the_fence_the_worker_overwrites_the_end(shopper):
    order_id = waiting_order(shopper)
    zombie = paused_worker(order_id)
    checkout.request_cancel(order_id)
    unfenced = Order.objects.filter(pk=zombie.pk)
    assert unfenced.update(status="confirmed", step="capturing") == 1
    assert orders_of_id(order_id)[0] == "confirmed", "a cancelled order came back"
    unfenced.update(status="cancelled", step="closed")


def test_a_busy_lease_is_told_that_there_is_news(shopper):
    order_id = waiting_order(shopper)
    holder = leases.take(Order, "orders", order_id)
    assert leases.take(Order, "orders", order_id) is None
    Order.objects.filter(pk=order_id).update(cancel_requested_at=holder.taken_at)
    assert saga.carry_on(holder).status == "cancelled", "the holder looked again before it went to wait"


def captured_by_a_holder_while_a_cancel_is_noted(shopper: InProcess, *, wake: bool) -> tuple[str, str]:
    """A worker is about to capture; somebody asks for the cancel, and dies before looking whether anybody is at it."""
    order_id = uuid.UUID(shopper.order(stocked(1), token="tok_capture_timeout_then_ok").body["id"])
    holder = leases.take(Order, "orders", order_id)
    checkout.ask_to_cancel(order_id)
    if not wake:
        changed("orders", "UPDATE orders_order SET woken = false WHERE id = %s", [order_id])
    eventually(lambda: payment_of(order_id) == "captured", reconcile)
    saga.carry_on(holder)
    return orders_of_id(str(order_id))


def test_a_cancel_whose_requester_died_is_carried_out_by_the_holder(shopper):
    assert captured_by_a_holder_while_a_cancel_is_noted(shopper, wake=True) == ("cancelled", "closed")


def test_control_without_the_wake_up_the_cancel_is_lost(shopper):
    assert captured_by_a_holder_while_a_cancel_is_noted(shopper, wake=False) == ("confirmed", "done")
    sweep()


@pytest.mark.breaks("order_path")
def test_a_resumed_order_whose_capture_is_refused_goes_on_hold_though_there_is_news(shopper):
    order_id = shopper.order(stocked(1), token="tok_capture_refused").body["id"]
    changed("orders", "UPDATE orders_order SET status = 'confirmed' WHERE id = %s", [order_id])
    holder = leases.take(Order, "orders", uuid.UUID(order_id))
    assert leases.take(Order, "orders", uuid.UUID(order_id)) is None
    assert saga.carry_on(holder).status == "on_hold"
    assert orders_of_id(order_id) == ("on_hold", "capturing")


def test_who_has_paid_when_the_time_is_over_gets_the_goods(shopper, settings):
    settings.RESERVATION_HOLD_SECONDS = 0.1
    sku = stocked(1)
    order = shopper.order(sku, token="tok_requires_action").body
    shopper.post("/" + order["payment"]["action"]["url"].split("/", 3)[3])
    eventually(lambda: orders_of_id(order["id"])[1] == "done", sweep)  # before the event of the payment is delivered
    run_until_idle()
    assert (orders_of_id(order["id"])[0], payment_of(order["id"]), stock_of(sku)) == ("confirmed", "captured", (0, 0))


def test_an_order_whose_payment_was_called_off_before_it_was_taken_is_cancelled(shopper):
    sku = stocked(1)
    order_id = uuid.UUID(shopper.order(sku, token="tok_capture_refused").body["id"])
    run_until_idle()
    payments.cancel(order_id=order_id)
    changed("orders", "UPDATE orders_order SET due_at = now() WHERE id = %s", [order_id])
    eventually(lambda: orders_of_id(str(order_id)) == ("cancelled", "closed"), sweep)
    assert stock_of(sku) == (1, 0)


def test_an_order_that_somebody_is_writing_to_does_not_stop_the_sweep(shopper, settings):
    settings.RESERVATION_HOLD_SECONDS = 0.1
    stuck, other = waiting_order(shopper), waiting_order(shopper)
    written, done = threading.Event(), threading.Event()

    def writer() -> None:
        with transaction("orders"):
            changed("orders", "UPDATE orders_order SET tries = tries WHERE id = %s", [stuck])
            written.set()
            done.wait(10)

    def sweeper() -> None:
        written.wait(10)
        eventually(lambda: orders_of_id(str(other))[0] == "rejected", sweep)
        done.set()

    assert at_once(writer, sweeper) == [None, None]
    eventually(lambda: orders_of_id(str(stuck))[0] == "rejected", sweep)


def test_a_database_that_is_away_after_the_order_exists_is_waited_for(shopper):
    """Inventory's own connection is cut off in the middle: the order waits, and nothing is half-done."""
    sku, email = stocked(1), unique_email()
    services.configure({"inventory": "tests.orders.test_races.CutOffInventory"}, "local")
    try:
        answer = shopper.order(sku, email=email)
    finally:
        services.configure(configured.SERVICES, configured.TRANSPORT)
    assert (answer.status, answer.body["status"]) == (202, "pending")
    eventually(lambda: orders_of(email)[0][1] == "confirmed", sweep)
    assert charges(orders_of(email)[0][0]) == 1


class CutOffInventory(LocalInventory):
    """Inventory on a server that goes away while it reserves: its session is ended by the server itself."""

    def quote(self, *, skus: tuple[str, ...]) -> tuple:
        return super().quote(skus=skus)

    def reserve(self, **arguments) -> None:
        rows("inventory", "SELECT pg_terminate_backend(pg_backend_pid())")

    def release(self, **arguments) -> None:
        rows("inventory", "SELECT pg_terminate_backend(pg_backend_pid())")


@pytest.mark.parametrize("alias", configured.CONTEXTS)
def test_no_session_keeps_the_others_waiting_for_ever(alias):
    for name, value in (("lock_timeout", "5s"), ("statement_timeout", "15s"), ("idle_in_transaction_session_timeout", "4s")):
        assert rows(alias, f"SHOW {name}") == [(value,)]


def test_an_order_left_behind_by_a_dead_process_is_carried_on(shopper):
    order_id = waiting_order(shopper)
    order = leases.take(Order, "orders", order_id)
    Order.objects.filter(pk=order_id).update(step="reserving", due_at=order.taken_at)
    changed("orders", "UPDATE orders_order SET lease_until = now() - interval '1 second' WHERE id = %s", [order_id])
    eventually(lambda: orders_of_id(order_id) == ("pending", "authorizing"), sweep)
    assert charges(order_id) == 0
