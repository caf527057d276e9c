"""A small soak test, and its audit: each falsification of the records of a real run has to be found."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.conf import settings

from config.contexts import ALL_CONTEXTS
from ops.console.request_log import read_request_log
from tests.soak import audit, database_state, logs, records
from tests.soak.plan import BROKER_FAULT_RATES, FAULT_RATES, PROCESSES_BY_MODE, Plan, list_processes
from tests.soak.topology import Sites, build_processes

MODE, ORDERS = (
    ("split", 60) if settings.TRANSPORT == "loopback" else ("monolith", 40)
)  # with local binding the whole sweep runs too
SEED = 2689  # its first 40 journeys contain everything that is falsified below, several times


@pytest.fixture(scope="module")
def soak(tmp_path_factory):
    """Run a soak test: its exit status, output and folder."""
    folder = tmp_path_factory.mktemp("soak") / "run"
    done = subprocess.run(
        [sys.executable, "-m", "tests.soak", f"--seed={SEED}", f"--orders={ORDERS}", f"--mode={MODE}", f"--folder={folder}"],
        env=dict(os.environ), cwd=settings.BASE_DIR, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False,
    )  # fmt: skip
    return SimpleNamespace(status=done.returncode, output=done.stdout, folder=folder)


@pytest.fixture
def records_of_run(soak):
    """Load the records of the run, for a test to falsify."""
    history = [entry for entry in read_request_log(soak.folder / "history.jsonl")]
    return SimpleNamespace(history=history, state=database_state.load_state(soak.folder / "state.json"))


def violated(records_of_run) -> set[str]:
    return {
        violation.invariant
        for violation in audit.audit(records.sort_history(records_of_run.history), records_of_run.state)
    }


def test_a_shop_under_faults_violates_no_invariant(soak):
    assert soak.status == 0, soak.output[-6000:]
    summary = json.loads(soak.output[soak.output.index("\n{\n") :])
    assert sum(summary["orders"].values()) <= ORDERS
    assert summary["orders"]["confirmed"] > ORDERS / 3
    assert summary["kills"] >= max(FAULT_RATES["kill"][1], ORDERS // FAULT_RATES["kill"][0])
    assert summary["failures"].keys() & {"responses lost", "503"}, "the faults had no effect"
    assert summary["mode"] == MODE
    assert summary["violations"] == 0


def test_the_records_of_a_correct_run_have_no_violation(records_of_run):
    assert violated(records_of_run) == set()


# Falsifications: each changes the records of a correct run into those of a shop that broke a promise.


def first_response_to(records_of_run, purpose: str, status: int = 0) -> dict:
    """Return the first response to a request with this purpose."""
    sent = {
        entry["request"]: entry
        for entry in records_of_run.history
        if entry["event"] == "sent" and entry["purpose"] == purpose
    }
    fitting = (e for e in records_of_run.history if e["event"] == "answered" and e["request"] in sent)
    return next(entry for entry in fitting if status in (0, entry["status"]))


def repeated_response(records_of_run) -> dict:
    """Return the last of several final responses to the same key."""
    by_key = records.sort_history(records_of_run.history).answers_by_key.values()
    finals = ([one for one in answers if one.status == 201] for answers in by_key)
    return next(several for several in finals if len(several) > 1)[-1].answered


def change_response(entry: dict, **changes) -> None:
    entry["answer"] = json.dumps(json.loads(entry["answer"]) | changes)


def order_of(records_of_run, entry: dict) -> database_state.Order:
    return records_of_run.state.orders[json.loads(entry["answer"])["id"]]


def order_with_status(records_of_run, status: str) -> database_state.Order:
    return next(order for order in records_of_run.state.orders.values() if order.status == status)


def confirmation_mails_of(records_of_run, order: database_state.Order) -> list[dict]:
    subject = f"Your order {order.number} is confirmed"
    return [entry for entry in records_of_run.history if entry["event"] == "mail" and entry["why"] == subject]


def order_with_mail(records_of_run) -> database_state.Order:
    """Return a confirmed order with a confirmation mail."""
    confirmed = (order for order in records_of_run.state.orders.values() if order.status == "confirmed")
    return next(order for order in confirmed if confirmation_mails_of(records_of_run, order))


def an_order_is_lost(records_of_run):
    del records_of_run.state.orders[order_of(records_of_run, first_response_to(records_of_run, "order", 201)).id]


def a_response_names_an_unknown_order(records_of_run):
    change_response(first_response_to(records_of_run, "order", 201), id="0" * 8)


def an_order_has_another_total(records_of_run):
    order_of(records_of_run, first_response_to(records_of_run, "order", 201)).total += 1


def an_order_has_another_number(records_of_run):
    change_response(first_response_to(records_of_run, "order", 201), number="0000")


def an_order_was_never_requested(records_of_run):
    extra = copy.deepcopy(order_with_status(records_of_run, "rejected"))
    extra.id = "not-requested"
    records_of_run.state.orders["not-requested"] = extra


def an_order_has_more_units_than_requested(records_of_run):
    order = order_of(records_of_run, first_response_to(records_of_run, "order", 201))
    sku, quantity, price = order.lines[0]
    order.lines[0] = (sku, quantity + 1, price)


def an_order_has_another_email(records_of_run):
    order = next(order for order in records_of_run.state.orders.values() if order.email.startswith("guest-"))
    order.email = "guest-0-0@example.com"


def a_repeat_made_another_order(records_of_run):
    change_response(repeated_response(records_of_run), id=order_with_status(records_of_run, "rejected").id)


def a_repeat_gets_another_response(records_of_run):
    change_response(repeated_response(records_of_run), status="on_hold")


def a_repeat_is_answered_202(records_of_run):
    repeated_response(records_of_run)["status"] = 202


def a_confirmed_order_is_rejected_after_all(records_of_run):
    order_of(records_of_run, first_response_to(records_of_run, "order", 201)).status = "rejected"


def an_order_is_never_finished(records_of_run):
    order_with_status(records_of_run, "confirmed").step = "capturing"


def order_with_token(records_of_run, token: str) -> database_state.Order:
    requests, state = records.sort_history(records_of_run.history).requests, records_of_run.state
    keys = (key for key, request in requests.items() if request["body"]["payment_method"]["token"] == token)
    return state.orders[next(state.keys[key] for key in keys if key in state.keys)]


def a_declined_card_buys(records_of_run):
    order_with_token(records_of_run, "tok_declined").was_confirmed = True


def a_good_card_is_declined(records_of_run):
    order_with_token(records_of_run, "tok_ok").refusal = "payments.declined"


def a_cancel_did_nothing(records_of_run):
    cancel = next(one for one in records.sort_history(records_of_run.history).of("cancel") if one.status in (200, 202))
    records_of_run.state.orders[cancel.sent["path"].split("/")[-2]].status = "confirmed"


def an_order_is_charged_twice(records_of_run):
    records_of_run.state.money[order_with_status(records_of_run, "confirmed").id].charges = 2


def a_cancelled_order_keeps_the_money(records_of_run):
    money = records_of_run.state.money
    paid = next(
        o
        for o in records_of_run.state.orders.values()
        if o.status == "cancelled" and o.id in money and money[o.id].provider_captured
    )
    money[paid.id].provider_refunded = money[paid.id].refunded = 0


def a_confirmed_order_is_not_paid(records_of_run):
    money = records_of_run.state.money[order_with_status(records_of_run, "confirmed").id]
    money.provider_captured = money.captured = 0


def our_amounts_differ_from_the_providers(records_of_run):
    records_of_run.state.money[order_with_status(records_of_run, "confirmed").id].captured += 1


def a_rejected_order_has_an_authorization(records_of_run):
    records_of_run.state.money[order_with_status(records_of_run, "rejected").id] = database_state.Money(
        payment="p", status="voided", captured=0, refunded=0, intent="authorized"
    )


def a_refund_is_forgotten(records_of_run):
    del records_of_run.state.refunds[0]


def a_refund_was_not_requested(records_of_run):
    records_of_run.state.refunds.append(
        database_state.Refund(key="not-requested", payment="p", amount=1, status="done")
    )


def a_unit_vanishes(records_of_run):
    next(iter(records_of_run.state.stock.values())).on_hand -= 1


def a_unit_stays_reserved(records_of_run):
    next(iter(records_of_run.state.stock.values())).reserved += 1


def a_mail_is_never_sent(records_of_run):
    order = order_with_mail(records_of_run)
    records_of_run.history = [
        entry for entry in records_of_run.history if entry not in confirmation_mails_of(records_of_run, order)
    ]


def a_mail_is_sent_as_two(records_of_run):
    records_of_run.history.append(
        confirmation_mails_of(records_of_run, order_with_mail(records_of_run))[0] | {"key": "<another@id>"}
    )


def an_unconfirmed_order_has_a_confirmation_mail(records_of_run):
    order = next(order for order in records_of_run.state.orders.values() if not order.was_confirmed)
    subject = f"Your order {order.number} is confirmed"
    mail = {"at": 0, "event": "mail", "target": order.email, "key": "<a@b>", "why": subject, "kind": "accepted"}
    records_of_run.history.append(mail)


def a_mail_goes_to_a_stranger(records_of_run):
    confirmation_mails_of(records_of_run, order_with_mail(records_of_run))[0]["target"] = "stranger@example.com"


def a_response_is_500(records_of_run):
    first_response_to(records_of_run, "order")["status"] = 500


def an_outage_has_no_retry_after(records_of_run):
    answer = first_response_to(records_of_run, "order")
    answer["status"], answer["headers"] = 503, {"Content-Type": "application/problem+json"}


def a_buyer_gave_up(records_of_run):
    records_of_run.history.append(
        {"at": 0, "event": "given_up", "journey": 1, "purpose": "order", "path": "/", "key": ""}
    )


FALSIFICATIONS = {
    an_order_is_lost: "every_acknowledged_order_exists",
    a_response_names_an_unknown_order: "every_acknowledged_order_exists",
    an_order_has_another_total: "every_acknowledged_order_matches_its_response",
    an_order_has_another_number: "every_acknowledged_order_matches_its_response",
    an_order_was_never_requested: "every_order_was_requested",
    an_order_has_more_units_than_requested: "every_order_was_requested",
    an_order_has_another_email: "every_order_was_requested",
    a_repeat_made_another_order: "every_key_has_one_order",
    a_repeat_gets_another_response: "every_final_answer_stays",
    a_repeat_is_answered_202: "every_final_answer_stays",
    a_confirmed_order_is_rejected_after_all: "every_final_answer_is_true",
    an_order_is_never_finished: "every_order_is_final",
    a_declined_card_buys: "every_card_has_its_declared_outcome",
    a_good_card_is_declined: "every_card_has_its_declared_outcome",
    a_cancel_did_nothing: "every_cancel_is_true",
    an_order_is_charged_twice: "every_order_is_charged_at_most_once",
    a_cancelled_order_keeps_the_money: "every_order_has_the_right_money",
    a_confirmed_order_is_not_paid: "every_order_has_the_right_money",
    our_amounts_differ_from_the_providers: "every_order_has_the_right_money",
    a_rejected_order_has_an_authorization: "every_order_has_the_right_money",
    a_refund_is_forgotten: "every_refund_is_true",
    a_refund_was_not_requested: "every_refund_is_true",
    a_unit_vanishes: "every_unit_of_stock_is_accounted_for",
    a_unit_stays_reserved: "every_unit_of_stock_is_accounted_for",
    a_mail_is_never_sent: "every_confirmed_order_has_its_mail",
    a_mail_is_sent_as_two: "every_confirmed_order_has_its_mail",
    an_unconfirmed_order_has_a_confirmation_mail: "every_confirmed_order_has_its_mail",
    a_mail_goes_to_a_stranger: "every_mail_goes_to_its_customer",
    a_response_is_500: "every_answer_has_a_declared_status",
    an_outage_has_no_retry_after: "every_answer_has_a_declared_status",
    a_buyer_gave_up: "every_request_is_answered",
}


@pytest.mark.parametrize("falsify", FALSIFICATIONS, ids=lambda falsify: falsify.__name__)
def test_a_falsified_record_is_found(records_of_run, falsify):
    falsify(records_of_run)
    assert FALSIFICATIONS[falsify] in violated(records_of_run)


def test_each_check_has_a_falsification():
    assert set(FALSIFICATIONS.values()) == {check.__name__ for check in audit.CHECKS}


def test_an_error_of_the_shop_is_found_in_its_logs(tmp_path):
    outage = json.dumps({"event": "engine_outage", "level": "warning"})
    bug = json.dumps({"event": "engine_error", "level": "error", "exception": "Traceback: KeyError"})
    killed = "[ERROR] Unexpected exit from worker-1"
    (tmp_path / "web-1.log").write_text(f"{outage}\n{killed}\n{bug}\nException in thread leases\n")
    ended_by_watchdog, crashed = (
        f"The worker has ended with status {status}, and is started again." for status in (75, 1)
    )
    (tmp_path / "worker-orders.log").write_text(
        f"\nworker: Warm shutdown (MainProcess)\n{ended_by_watchdog}\n{crashed}\n"
    )
    assert [line for _, line in logs.find_unexpected_lines(tmp_path)] == [
        bug,
        "Exception in thread leases",
        crashed,
    ]


@pytest.mark.parametrize(("error", "logger", "is_outage"), [
    ("redis.exceptions.ConnectionError: refused", "celery.worker.request", True),
    ("AttributeError: 'NoneType' object has no attribute 'hostname'", "celery.worker", False),
    ("redis.exceptions.ConnectionError: refused", "shop.messaging.celery.broker", False),
])  # fmt: skip
def test_only_celery_may_log_a_traceback_and_only_for_a_broker_outage(tmp_path, error, logger, is_outage):
    entry = {"event": "Couldn't ack", "logger": logger, "exception": f"Traceback:\n  in ack\n{error}"}
    (tmp_path / "worker-orders.log").write_text(json.dumps(entry))
    assert (list(logs.find_unexpected_lines(tmp_path)) == []) == is_outage


def test_celery_log_lines_are_counted_by_logger(tmp_path):
    lines = [{"event": f"Trying again in {n}.00 seconds", "logger": "celery.worker.consumer.consumer"} for n in (2, 4)]
    lines += [{"event": "engine_outage", "logger": "shop.messaging.engine"}]
    (tmp_path / "worker-orders.log").write_text("\n".join(map(json.dumps, lines)))
    assert logs.count_events(tmp_path) == {"celery.worker.consumer.consumer": 2, "engine_outage": 1}


def test_a_seed_determines_the_schedule():
    assert Plan(1, 300).fingerprint == Plan(1, 300).fingerprint
    assert len({Plan(seed, 300).fingerprint for seed in range(5)}) == 5
    assert {fault.kind for fault in Plan(1, 20).faults()} == set(FAULT_RATES)
    assert sum(fault.kind in ("kill", "database") for fault in Plan(1, 10_000).faults()) >= 500


def test_each_mode_has_its_own_fault_schedule_for_the_same_buyers():
    monolith, split = Plan(1, 300), Plan(1, 300, "split")
    assert list(monolith.journeys()) == list(split.journeys())
    assert monolith.fingerprint != split.fingerprint
    assert {fault.target for fault in Plan(1, 3000, "split").faults() if fault.kind == "kill"} == {
        part.name for part in split.parts
    }
    assert "wire." in split.inside()["CHAOS"]
    assert "wire." not in monolith.inside()["CHAOS"]


@pytest.mark.parametrize("mode", PROCESSES_BY_MODE)
def test_celery_adds_faults_of_broker_workers_and_beat_for_the_same_buyers(mode):
    embedded, celery = Plan(1, 3000, mode), Plan(1, 3000, mode, "celery")
    assert list(embedded.journeys()) == list(celery.journeys())
    assert {fault.kind for fault in embedded.faults()} == FAULT_RATES.keys()
    assert {fault.kind for fault in celery.faults()} == FAULT_RATES.keys() | BROKER_FAULT_RATES.keys()
    names = {part.name for part in celery.parts}
    assert {f"worker-{context}" for context in ALL_CONTEXTS} | {"beat-1", "broker-1"} < names
    assert {fault.target for fault in celery.faults() if fault.kind == "kill"} == names - {"broker-1"}
    assert {fault.target for fault in celery.faults() if fault.kind in BROKER_FAULT_RATES} == {"broker-1"}


@pytest.mark.parametrize("mode", PROCESSES_BY_MODE)
def test_with_celery_each_context_has_a_worker_on_the_same_broker(mode, tmp_path):
    shop = build_processes(list_processes(mode, "celery"), {}, tmp_path)
    [broker] = [process for part, process in shop if part.kind == "broker"]
    others = [(part, process) for part, process in shop if part.kind != "broker"]
    assert {process.environment["BROKER_URL"] for _, process in others} == {f"redis://127.0.0.1:{broker.port}/0"}
    assert {process.environment["ENGINE"] for _, process in others} == {"celery"}
    workers = {part.which: process for part, process in others if part.kind == "worker"}
    assert workers.keys() == set(ALL_CONTEXTS)
    hosted = {context: process.environment.get("CONTEXTS", "") for context, process in workers.items()}
    assert hosted == {context: context if mode == "split" else "" for context in ALL_CONTEXTS}
    web = {f"http://127.0.0.1:{process.port}" for part, process in others if part.kind == "web"}
    assert {site for sites in Sites(shop).sites_by_context.values() for site in sites} == web


def test_buyers_of_a_split_shop_use_the_hosting_process(tmp_path):
    shop = build_processes(PROCESSES_BY_MODE["split"], {}, tmp_path)
    public = {part.context: f"http://127.0.0.1:{process.port}" for part, process in shop if part.kind == "web"}
    internal = {part.context: f"http://127.0.0.1:{process.port}" for part, process in shop if part.kind == "internal"}
    assert len({*public.values(), *internal.values()}) == 2 * len(ALL_CONTEXTS)
    for part, process in shop:
        assert process.environment["CONTEXTS"] == part.context
        assert {context: process.environment[f"{context.upper()}_URL"] for context in ALL_CONTEXTS} == internal
    paths = {
        "/api/v1/products?in_stock=true": "inventory", "/api/v1/carts": "orders", "/api/v1/auth/token": "users",
        "/api/v1/payments/5/refunds": "payments", "/admin/": "orders",
        "/admin/payments/payment/": "payments",
    }  # fmt: skip
    sites = Sites(shop)
    assert {path: sites.of(path) for path in paths} == {path: [public[host]] for path, host in paths.items()}


def test_buyers_of_a_monolith_use_any_server(tmp_path):
    shop = build_processes(PROCESSES_BY_MODE["monolith"], {}, tmp_path)
    assert len(Sites(shop).of("/api/v1/orders")) == 3


def test_a_soak_does_not_touch_a_folder_that_is_in_use(tmp_path: Path):
    (tmp_path / "precious").touch()
    done = subprocess.run([sys.executable, "-m", "tests.soak", f"--folder={tmp_path}"], capture_output=True, text=True,
                          cwd=settings.BASE_DIR, check=False)  # fmt: skip
    assert (done.returncode, done.stderr.strip()) == (
        1,
        f"{tmp_path} is not empty. Give the soak test an empty or a new folder.",
    )
    assert [entry.name for entry in tmp_path.iterdir()] == ["precious"]
