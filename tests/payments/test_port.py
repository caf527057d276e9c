"""The provider port: no call inside a transaction, exact responses, and the statement budget of the happy path."""

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from contexts.payments import providers
from contexts.payments.interface import PaymentMethod, payments
from contexts.payments.service import LocalPayments
from shop.db.database import transaction
from shop.errors import InTransaction, Unavailable
from shop.ids import uuid7
from tests.payments.operations import EUR_20, authorize, read_column

sandbox = providers.find("sandbox")
CALLS = {
    "confirm": {"amount": EUR_20, "token": "tok_ok"},
    "retrieve": {},
    "capture": {"amount": EUR_20, "key": "k"},
    "cancel": {},
    "refund": {"amount": EUR_20, "key": "k"},
}


def new_reference():
    return sandbox.reference(uuid7())


@pytest.mark.parametrize("alias", ["payments", "orders"])
@pytest.mark.parametrize("call", CALLS)
def test_provider_is_not_called_inside_a_transaction(alias, call):
    with pytest.raises(InTransaction), transaction(alias):
        getattr(sandbox, call)(reference=new_reference(), **CALLS[call])


def test_a_failing_token_does_not_hide_a_call_inside_a_transaction():
    with pytest.raises(InTransaction), transaction("orders"):
        sandbox.confirm(reference=new_reference(), amount=EUR_20, token="tok_error")


def test_payments_cannot_be_called_inside_a_transaction():
    with pytest.raises(InTransaction), transaction("orders"):
        payments.cancel(order_id=uuid7())


def test_an_intent_cancelled_before_it_arrives_stays_cancelled():
    reference = new_reference()
    assert sandbox.retrieve(reference=reference).status == "not_found"
    assert sandbox.cancel(reference=reference).status == "cancelled"
    assert sandbox.confirm(reference=reference, amount=EUR_20, token="tok_ok").status == "cancelled"
    assert sandbox.capture(reference=reference, amount=EUR_20, key="k").status == "refused"


def test_confirm_twice_charges_once():
    reference = new_reference()
    for _ in range(2):
        with pytest.raises(Unavailable):
            sandbox.confirm(reference=reference, amount=EUR_20, token="tok_timeout_then_ok")
    assert sandbox.retrieve(reference=reference).status == "authorized"


def test_refunds_have_their_key_and_their_limit():
    reference, key = new_reference(), str(uuid7())
    sandbox.confirm(reference=reference, amount=EUR_20, token="tok_ok")
    assert sandbox.refund(reference=reference, amount=EUR_20, key=key).status == "refused"
    sandbox.capture(reference=reference, amount=EUR_20, key="k")
    for _ in range(2):
        assert sandbox.refund(reference=reference, amount=EUR_20, key=key).status == "refunded"
    assert sandbox.refund(reference=reference, amount=EUR_20, key=str(uuid7())).status == "refused"
    assert sandbox.cancel(reference=reference).status == "captured"


def count_statements(do):
    with CaptureQueriesContext(connections["payments"]) as queries:
        do()
    return [query["sql"] for query in queries if query["sql"] not in ("BEGIN", "COMMIT")]


def test_authorize_and_capture_stay_within_their_budget():
    order_id, here = uuid7(), LocalPayments()
    method = PaymentMethod(provider="sandbox", token="tok_ok")
    assert len(count_statements(lambda: here.authorize(order_id=order_id, amount=EUR_20, method=method))) == 4
    assert len(count_statements(lambda: here.capture(order_id=order_id))) == 5
    assert len(count_statements(lambda: here.of_orders(order_ids=(order_id, uuid7())))) == 1


def test_every_change_raises_the_version():
    payment = authorize("tok_capture_timeout_then_ok")
    versions = [read_column(payment, "version")]
    for operation in (payments.capture, payments.cancel):
        operation(order_id=payment.order_id)
        versions.append(read_column(payment, "version"))
    assert versions == [2, 4, 7]  # authorized; capturing, unknown; cancel requested, refunding, refunded
