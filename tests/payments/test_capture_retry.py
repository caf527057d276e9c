"""A refused capture can be tried again, by staff and by schedule; it never takes the money twice."""

import json
import uuid

import pytest

from contexts.payments.interface import NotCapturable, payments
from contexts.payments.service import captures
from shop.db.database import execute, fetch_rows
from tests.concurrency import repeat_concurrently
from tests.http_client import Client
from tests.payments.fake_providers import PausedSandbox, SilentSandbox
from tests.payments.operations import (
    BackgroundTask,
    authorize,
    check_now,
    get_payment,
    move_money,
    published_events,
    read_column,
    read_sandbox_intent,
    reconcile_to_status,
)
from tests.staff_accounts import sign_access_token

pytestmark = pytest.mark.usefixtures("verified")


def refused_capture(token="tok_capture_refused"):
    payment = payments.capture(order_id=authorize(token).order_id)
    assert payment.status == "capture_refused"
    return payment


def staff(*permissions):
    return Client(headers={"Authorization": f"Bearer {sign_access_token(*permissions)}"})


def ask_staff(payment, verb, *permissions, key="", client=None, body=None):
    return (client or staff(*permissions)).post(
        f"/api/v1/staff/payments/{payment.id}/{verb}",
        json.dumps(body) if body is not None else "",
        content_type="application/json",
        headers={"Idempotency-Key": key or uuid.uuid4().hex},
    )


def test_staff_capture_again_what_the_bank_allows_now():
    payment = refused_capture()
    answer = ask_staff(payment, "capture", "payments.capture")
    assert (answer.status_code, answer.json()["code"]) == (409, "payments.capture_refused")
    move_money(payment, "allow")
    answer = ask_staff(payment, "capture", "payments.capture")
    assert (answer.status_code, answer.json()["status"], answer.json()["captured"]["amount"]) == (200, "captured", 2000)
    assert published_events(payment.order_id)[-2:] == ["payment_captured", "payment_resolved"]
    [(actors,)] = fetch_rows(
        "payments",
        "SELECT count(*) FROM shop_auditentry WHERE action = 'capture' AND object_id = %s",
        [str(payment.id)],
    )
    assert actors == 2


def test_a_repeat_with_the_same_key_starts_no_other_capture():
    payment, key, clerk = refused_capture(), uuid.uuid4().hex, staff("payments.capture")
    for _ in range(3):
        assert ask_staff(payment, "capture", key=key, client=clerk).status_code == 409
    assert read_sandbox_intent(payment)["captures"] == 2


def test_only_staff_with_the_permission_capture_and_void():
    payment = refused_capture()
    for verb in ("capture", "void"):
        assert ask_staff(payment, verb, "payments.view").status_code == 403
        path = f"/api/v1/staff/payments/{uuid.uuid4()}/{verb}"
        assert staff("payments.capture").post(path, headers={"Idempotency-Key": uuid.uuid4().hex}).status_code == 404
    assert read_sandbox_intent(payment)["captures"] == 1


def test_a_refused_capture_is_tried_again_by_schedule():
    payment = refused_capture("tok_capture_refused_once")
    check_now(payment)
    assert get_payment(payment.order_id).status == "captured"
    assert read_sandbox_intent(payment)["captures"] == 2


def test_the_schedule_tries_later_and_later_until_the_order_is_cancelled():
    payment = refused_capture()
    check_now(payment)
    assert (get_payment(payment.order_id).status, read_sandbox_intent(payment)["captures"]) == ("capture_refused", 2)
    payments.cancel(order_id=payment.order_id)
    check_now(payment)
    assert (get_payment(payment.order_id).status, read_sandbox_intent(payment)["captures"]) == ("voided", 2)


def test_what_the_provider_captured_meanwhile_is_not_captured_again():
    payment = refused_capture()
    move_money(payment, "capture")
    captures.capture(payment_id=payment.id, actor="clerk")
    assert (get_payment(payment.order_id).status, read_sandbox_intent(payment)["captures"]) == ("captured", 1)


def test_an_authorization_that_has_expired_is_voided_instead():
    payment = refused_capture()
    move_money(payment, "void")
    with pytest.raises(NotCapturable):
        captures.capture(payment_id=payment.id, actor="clerk")
    assert get_payment(payment.order_id).status == "voided"


def test_an_unanswered_capture_is_repeated_with_its_own_key_and_never_started_again(register_provider):
    class KeyRecorder(SilentSandbox):
        keys = []

        def capture(self, **arguments):
            self.keys.append(arguments["key"])
            return super().capture(**arguments)

    provider = KeyRecorder(capture=2)
    payment = payments.capture(order_id=authorize(provider=register_provider(provider)).order_id)
    assert payment.status == "capturing"
    assert captures.capture(payment_id=payment.id, actor="clerk").status == "capturing"
    reconcile_to_status(payment.order_id, "captured")
    assert set(provider.keys) == {str(payment.id)}


def test_a_capture_after_a_refusal_has_a_key_of_its_own(register_provider):
    class KeyRecorder(SilentSandbox):
        keys = []

        def capture(self, **arguments):
            self.keys.append(arguments["key"])
            return super().capture(**arguments)

    provider = KeyRecorder()
    payment = payments.capture(
        order_id=authorize("tok_capture_refused_once", provider=register_provider(provider)).order_id
    )
    assert captures.capture(payment_id=payment.id, actor="clerk").status == "captured"
    assert provider.keys == [str(payment.id), f"{payment.id}-2"]


def test_ten_concurrent_retries_capture_once(register_provider):
    payment = refused_capture("tok_capture_refused_once")
    repeat_concurrently(10, lambda _: captures.capture(payment_id=payment.id, actor="clerk"))
    reconcile_to_status(payment.order_id, "captured")
    assert read_sandbox_intent(payment)["captured"] == 2000
    assert published_events(payment.order_id).count("payment_captured") == 1


def test_a_cancel_during_a_retry_refunds_it(register_provider):
    provider = PausedSandbox("capture", after=True)
    name = register_provider(provider)
    provider.call_reached.set()
    payment = payments.capture(order_id=authorize("tok_capture_refused_once", provider=name).order_id)
    provider.call_reached.clear()
    retry = BackgroundTask(lambda: captures.capture(payment_id=payment.id, actor="clerk"))
    assert provider.call_reached.wait(10)
    payments.cancel(order_id=payment.order_id)
    provider.resume.set()
    retry.wait()
    reconcile_to_status(payment.order_id, "refunded")
    assert (read_sandbox_intent(payment)["captured"], read_sandbox_intent(payment)["refunded"]) == (2000, 2000)


def test_staff_void_an_authorized_payment_but_no_captured_one():
    payment = refused_capture()
    answer = ask_staff(payment, "void", "payments.capture")
    assert (answer.status_code, json.loads(answer.content)["status"]) == (200, "voided")
    captured = payments.capture(order_id=authorize().order_id)
    assert ask_staff(captured, "void", "payments.capture").json()["code"] == "payments.not_voidable"
    assert read_column(captured, "cancel_wanted") is False


def test_the_interface_reports_a_refusal_and_does_not_try_again():
    payment = refused_capture("tok_capture_refused_once")
    execute("payments", "UPDATE payments_payment SET check_at = now() + interval '1 hour' WHERE id = %s", [payment.id])
    assert payments.capture(order_id=payment.order_id).status == "capture_refused"
    assert read_sandbox_intent(payment)["captures"] == 1


def amount_of(value, currency="EUR"):
    return {"amount": {"amount": value, "currency": currency}}


def test_a_request_that_started_nothing_keeps_no_key_so_its_repeat_does_the_work(register_provider):
    provider = PausedSandbox("retrieve", after=True)
    payment, key, clerk = authorize(provider=register_provider(provider)), uuid.uuid4().hex, staff("payments.capture")
    sync = BackgroundTask(lambda: payments.sync(order_id=payment.order_id))
    assert provider.call_reached.wait(10)
    answer = ask_staff(payment, "capture", key=key, client=clerk)
    assert (answer.status_code, answer.json()["code"]) == (409, "payments.payment_is_busy")
    provider.resume.set()
    sync.wait()
    reconcile_to_status(payment.order_id, "authorized")
    answer = ask_staff(payment, "capture", key=key, client=clerk)
    assert (answer.status_code, answer.json()["status"]) == (200, "captured")


def test_a_void_that_was_not_possible_keeps_no_key():
    payment, key, clerk = payments.capture(order_id=authorize().order_id), uuid.uuid4().hex, staff("payments.capture")
    for _ in range(2):
        assert ask_staff(payment, "void", key=key, client=clerk).json()["code"] == "payments.not_voidable"
    keys = fetch_rows("payments", "SELECT count(*) FROM shop_idempotencykey WHERE resource = %s", [payment.id])
    assert keys == [(0,)]


def test_staff_capture_a_part_and_later_the_rest(error_log):
    payment = authorize()
    answer = ask_staff(payment, "capture", "payments.capture", body=amount_of(1200))
    assert (answer.status_code, answer.json()["status"], answer.json()["captured"]["amount"]) == (200, "captured", 1200)
    assert get_payment(payment.order_id).attention == "captured_in_part"
    too_much = ask_staff(payment, "capture", "payments.capture", body=amount_of(801))
    assert (too_much.json()["code"], too_much.json()["facts"]["left"]["amount"]) == ("payments.capture_too_large", 800)
    assert ask_staff(payment, "capture", "payments.capture", body={}).json()["captured"]["amount"] == 2000
    after = get_payment(payment.order_id)
    assert (after.captured.amount, after.attention, read_sandbox_intent(payment)["captured"]) == (2000, None, 2000)
    captured = [each for each in published_events(payment.order_id) if each == "payment_captured"]
    assert len(captured) == 2


def test_a_capture_of_a_part_in_another_currency_or_of_too_much_takes_nothing():
    payment = authorize()
    for body, code in [(amount_of(500, "USD"), "wrong_currency"), (amount_of(2001), "capture_too_large")]:
        answer = ask_staff(payment, "capture", "payments.capture", body=body)
        assert (answer.status_code, answer.json()["code"]) == (409, f"payments.{code}")
    assert ask_staff(payment, "capture", "payments.capture", body=amount_of(0)).status_code == 400
    assert ask_staff(payment, "void", "payments.capture", body=amount_of(500)).status_code == 400
    assert (get_payment(payment.order_id).status, read_sandbox_intent(payment)["captures"]) == ("authorized", 0)


def test_the_refused_capture_of_the_rest_keeps_what_is_captured(error_log):
    payment = refused_capture()
    move_money(payment, "capture", 1200)
    payments.sync(order_id=payment.order_id)
    answer = ask_staff(payment, "capture", "payments.capture")
    assert (answer.status_code, answer.json()["code"]) == (409, "payments.capture_refused")
    after = get_payment(payment.order_id)
    assert (after.status, after.captured.amount, after.attention) == ("captured", 1200, "captured_in_part")


def test_an_unanswered_capture_of_a_part_is_repeated_and_taken_once(register_provider, error_log):
    payment = authorize(provider=register_provider(SilentSandbox(capture=2)))
    answer = ask_staff(payment, "capture", "payments.capture", body=amount_of(1200))
    assert (answer.status_code, answer.json()["status"]) == (202, "capturing")
    reconcile_to_status(payment.order_id, "captured")
    assert (get_payment(payment.order_id).captured.amount, read_sandbox_intent(payment)["captured"]) == (1200, 1200)


def test_concurrent_captures_of_parts_take_no_more_than_was_authorized(error_log):
    payment = authorize()
    repeat_concurrently(6, lambda _: ask_staff(payment, "capture", "payments.capture", body=amount_of(900)))
    reconcile_to_status(payment.order_id, "captured")
    captured = get_payment(payment.order_id).captured.amount
    assert captured in (900, 1800)
    assert read_sandbox_intent(payment)["captured"] == captured
