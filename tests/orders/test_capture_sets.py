"""Confirmed orders are captured in sets: once each, whatever happens to the set meanwhile."""

import time
import uuid
from typing import Any

import pytest
from django.conf import settings as configured
from django.db import connections
from django.test.utils import CaptureQueriesContext

from contexts.orders.service import capturing, orders
from contexts.payments import providers
from contexts.payments.interface import payments
from contexts.payments.providers.sandbox import Sandbox
from contexts.payments.service import capture_sets
from shop.calls import services, tracing
from shop.db.database import execute, fetch_rows
from shop.errors import Unavailable
from tests.engine_driver import run_checkout_timers, run_payment_timers, run_until_idle
from tests.factories import create_sku
from tests.orders.queries import payment_of, status_and_step_of, stock_of
from tests.orders.test_interleavings import InterruptedPayments
from tests.shopper import InProcessShopper, Response
from tests.topologies.five_processes import single_process

pytestmark = pytest.mark.usefixtures("verified")


@pytest.fixture(autouse=True)
def nothing_waits():
    """Capture in this process, with no order of another test waiting."""
    with single_process():
        capturing.capture_confirmed()
        yield
        run_until_finished()


@pytest.fixture
def provider(monkeypatch):
    """Let payments call a sandbox that counts the captures of each payment, and does something before the first ones."""
    provider = WatchedSandbox()
    monkeypatch.setitem(providers.registry, "sandbox", provider)
    return provider


class WatchedSandbox(Sandbox):
    """A sandbox with actions for its next captures, one for each."""

    def __init__(self) -> None:
        self.references: list[str] = []
        self.actions: list[Any] = []

    def capture(self, **arguments: Any):
        self.references.append(arguments["reference"])
        if self.actions:
            self.actions.pop(0)()
        return super().capture(**arguments)


class Client(InProcessShopper):
    """A client that names its requests."""

    def __init__(self, request_id: str) -> None:
        super().__init__()
        self.request_id = request_id

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Response:
        return super().send(method, path, body, **headers | {"X_Request_ID": self.request_id})


@pytest.fixture
def interrupt():
    """Return a function: `interrupt(action, method)` runs the action on an order once, before the reply of the method."""
    services.configure({"payments": "tests.orders.test_interleavings.InterruptedPayments"}, "local")
    yield lambda action, method: InterruptedPayments.actions[method].append(action)
    services.configure(configured.SERVICES, configured.TRANSPORT)


def run_until_finished() -> None:
    """Run the timers and the handlers until nothing is left to do."""
    execute("orders", "UPDATE orders_order SET due_at = now() WHERE step = 'capturing' AND lease_until IS NULL")
    run_payment_timers()
    run_checkout_timers()
    run_until_idle()


def place(shopper: InProcessShopper, count: int = 3, token: str = "tok_ok") -> list[dict[str, Any]]:
    """Place some orders, and assert what each is answered."""
    answers = [shopper.order(create_sku(1), token=token) for _ in range(count)]
    shown = [(answer.status, answer.body["status"], answer.body["payment"]["status"]) for answer in answers]
    assert shown == [(201, "confirmed", "authorized")] * count
    return [answer.body for answer in answers]


def states_of(placed: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [status_and_step_of(order["id"]) for order in placed]


def published_events(order: dict[str, Any]) -> list[str]:
    sql = "SELECT name FROM shop_outboxevent WHERE stream = %s ORDER BY sequence"
    return [name.partition(".")[2] for (name,) in fetch_rows("orders", sql, [f"orders.order:{order['id']}"])]


def traces_of(order: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return the events of a captured order's set: their names, correlation ids, and the names of what caused them."""
    sql = """SELECT event.name, event.correlation_id, cause.name FROM shop_outboxevent event
             LEFT JOIN shop_outboxevent cause ON cause.id::text = event.causation_id
             WHERE event.stream = %s AND event.name IN ('orders.order_paid', 'payments.payment_captured')"""
    streams = {"orders": "orders.order", "payments": "payments.payment"}
    return [row for alias, name in streams.items() for row in fetch_rows(alias, sql, [f"{name}:{order['id']}"])]


def count_leases(placed: list[dict[str, Any]]) -> list[int]:
    """Count the leases of the orders, and those of their payments."""
    ids = [order["id"] for order in placed]
    held = "SELECT count(*) FROM {} WHERE lease_until IS NOT NULL AND {} = ANY(%s::uuid[])"
    tables = (("orders", "orders_order", "id"), ("payments", "payments_payment", "order_id"))
    return [fetch_rows(alias, held.format(table, key), [ids])[0][0] for alias, table, key in tables]


def timeline_of(shopper: InProcessShopper, order: dict[str, Any]) -> list[str]:
    entries = shopper.get(f"orders/{order['id']}/timeline", X_Order_Token=order["token"]).body["results"]
    return [entry["kind"] for entry in entries]


def test_a_set_captures_every_order_once(shopper, provider):
    placed = place(shopper)
    capturing.capture_confirmed()
    assert states_of(placed) == [("confirmed", "done")] * 3
    assert [payment_of(order["id"]) for order in placed] == ["captured"] * 3
    assert len(provider.references) == len(set(provider.references)) == 3
    assert published_events(placed[0]) == ["order_placed", "order_confirmed", "order_paid"]
    assert timeline_of(shopper, placed[0]) == ["placed", "confirmed", "paid"]
    assert shopper.get_order(placed[0])["payment"]["status"] == "captured"


def test_the_events_of_a_set_continue_the_traces_of_their_orders():
    requests = [uuid.uuid4().hex for _ in range(3)]
    placed = [Client(request).order(create_sku(1)).body for request in requests]
    with tracing.use_trace(tracing.start_trace()):
        capturing.capture_confirmed()
    assert [traces_of(order) for order in placed] == [
        [("orders.order_paid", request, "orders.order_confirmed"),
         ("payments.payment_captured", request, "payments.payment_authorized")] for request in requests
    ]  # fmt: skip


def test_a_repeat_of_the_request_is_answered_as_the_first_one(shopper):
    sku, key = create_sku(1), uuid.uuid4().hex
    first = shopper.order(sku, key=key)
    capturing.capture_confirmed()
    assert shopper.order(sku, key=key).body == first.body


def test_a_refused_capture_puts_its_order_on_hold_and_no_other(shopper):
    [refused], placed = place(shopper, 1, "tok_capture_refused"), place(shopper, 2)
    capturing.capture_confirmed()
    assert states_of(placed) == [("confirmed", "done")] * 2
    run_checkout_timers()
    assert status_and_step_of(refused["id"]) == ("on_hold", "capturing")
    assert stock_of(refused["lines"][0]["sku"])[1] == 1


def test_an_order_cancelled_before_its_set_is_not_captured(shopper, provider):
    placed = place(shopper, 2)
    shopper.post(f"orders/{placed[0]['id']}/cancel", X_Order_Token=placed[0]["token"])
    capturing.capture_confirmed()
    assert states_of(placed) == [("cancelled", "closed"), ("confirmed", "done")]
    assert (payment_of(placed[0]["id"]), len(provider.references)) == ("voided", 1)


def test_an_order_cancelled_while_its_set_captures_is_refunded(shopper, provider):
    placed = place(shopper)
    provider.actions = [lambda: orders.record_cancel_request(uuid.UUID(placed[0]["id"]))]
    capturing.capture_confirmed()
    assert status_and_step_of(placed[0]["id"]) == ("confirmed", "capturing")
    run_checkout_timers()
    assert states_of(placed) == [("cancelled", "closed"), *[("confirmed", "done")] * 2]
    assert payment_of(placed[0]["id"]) == "refunded"


def test_a_payment_cancelled_while_its_set_captures_leaves_the_others_captured(shopper, provider):
    placed = place(shopper)
    provider.actions = [lambda: payments.cancel(order_id=uuid.UUID(placed[0]["id"]))]
    capturing.capture_confirmed()
    assert [payment_of(order["id"]) for order in placed] == ["refunded", "captured", "captured"]
    assert states_of(placed)[1:] == [("confirmed", "done")] * 2


def test_a_set_writes_nothing_to_an_order_that_another_worker_has_taken_over(shopper, provider):
    placed = place(shopper)
    take_over = "UPDATE orders_order SET attempt = attempt + 1, lease_until = now() + interval '5 s' WHERE id = %s"
    provider.actions = [lambda: execute("orders", take_over, [placed[0]["id"]])]
    capturing.capture_confirmed()
    assert states_of(placed) == [("confirmed", "capturing"), *[("confirmed", "done")] * 2]
    assert published_events(placed[0])[-1] == "order_confirmed"
    execute("orders", "UPDATE orders_order SET lease_until = NULL WHERE id = %s", [placed[0]["id"]])


def test_after_a_slow_call_the_rest_of_a_set_goes_on_alone(shopper, provider):
    placed = place(shopper)
    provider.actions = [lambda: time.sleep(capture_sets.MAX_CALLS_SECONDS + 0.1)]
    capturing.capture_confirmed()
    assert sorted(states_of(placed)) == [("confirmed", "capturing"), ("confirmed", "capturing"), ("confirmed", "done")]
    assert len(provider.references) == 1
    assert count_leases(placed) == [0, 0]
    run_payment_timers()
    run_until_idle()
    assert states_of(placed) == [("confirmed", "done")] * 3
    assert len(provider.references) == len(set(provider.references)) == 3


def test_a_repeat_of_a_set_captures_nothing_again(shopper, provider):
    ids = tuple(uuid.UUID(order["id"]) for order in place(shopper))
    first, second = (payments.capture_orders(order_ids=(*ids, uuid.uuid4())) for _ in range(2))
    assert {payment.id: payment for payment in first} == {payment.id: payment for payment in second}
    assert {payment.order_id for payment in first} == set(ids)
    assert len(provider.references) == 3


def test_a_call_without_response_leaves_the_others_captured(shopper, provider):
    placed = place(shopper)

    def time_out() -> None:
        raise Unavailable(what="The provider")

    provider.actions = [time_out]
    capturing.capture_confirmed()
    assert sorted(states_of(placed)) == [("confirmed", "capturing"), *[("confirmed", "done")] * 2]
    execute("payments", "UPDATE payments_payment SET due_at = now() WHERE status = 'capturing'")
    run_payment_timers()
    run_until_idle()
    assert states_of(placed) == [("confirmed", "done")] * 3
    assert len(set(provider.references)) == 3


def test_the_orders_of_a_set_whose_process_died_go_on_alone(shopper, provider):
    placed = place(shopper)

    def die() -> None:
        raise SystemExit

    provider.actions = [die]
    with pytest.raises(SystemExit):
        capturing.capture_confirmed()
    ids = [order["id"] for order in placed]
    over = "UPDATE {} SET lease_until = now(), due_at = now() WHERE {} = ANY(%s::uuid[])"
    execute("orders", over.format("orders_order", "id"), [ids])
    execute("payments", over.format("payments_payment", "order_id"), [ids])
    capturing.capture_confirmed()
    attempts = fetch_rows(
        "orders", "SELECT min(attempt), max(attempt) FROM orders_order WHERE id = ANY(%s::uuid[])", [ids]
    )
    assert attempts == [(2, 2)]  # the request, and the set that died: no other set has taken them
    assert states_of(placed) == [("confirmed", "capturing")] * 3
    run_payment_timers()
    run_checkout_timers()
    assert states_of(placed) == [("confirmed", "done")] * 3


def test_orders_are_captured_alone_if_the_call_for_the_set_fails(shopper, interrupt):
    def fail(order_id: uuid.UUID) -> None:
        raise Unavailable(what="payments")  # as one of the last release answers, which does not know the method

    placed = place(shopper)
    interrupt(fail, "capture_orders")
    capturing.capture_confirmed()
    assert states_of(placed) == [("confirmed", "capturing")] * 3
    run_checkout_timers()
    assert states_of(placed) == [("confirmed", "done")] * 3


def test_a_set_takes_no_order_whose_cancel_was_requested(shopper, provider):
    placed = place(shopper, 2)
    orders.record_cancel_request(uuid.UUID(placed[0]["id"]))
    capturing.capture_confirmed()
    assert len(provider.references) == 1
    run_checkout_timers()
    assert payment_of(placed[0]["id"]) == "voided"


def test_a_set_takes_one_statement_for_each_step(shopper):
    place(shopper, 8)
    with CaptureQueriesContext(connections["orders"]) as executed:
        capturing.capture_confirmed()
    names = [query["sql"] for query in executed.captured_queries]
    inserts = [sql for sql in names if "INSERT INTO shop_outboxevent" in sql]
    assert len(inserts) <= 8
    assert len(names) - len(inserts) <= 5, names  # claim, find traces, BEGIN, mark as paid, COMMIT
