"""A soak in small, and what its audit is worth: lies planted into the records of a real run, each of which has to be found."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.conf import settings

from config.soak import audit, books, logs, records
from config.soak.history import read
from config.soak.plan import BROKER_FAULTS, CONTEXTS, FAULTS, MODES, Plan, parts
from config.soak.topology import Sites, build

MODE, ORDERS = ("split", 60) if settings.TRANSPORT == "loopback" else ("monolith", 40)  # local has the whole sweep
SEED = 2689  # its first 40 journeys have all that there are lies about, several times


@pytest.fixture(scope="module")
def soak(tmp_path_factory):
    """A soak that is over: what it said, and what it left behind."""
    folder = tmp_path_factory.mktemp("soak") / "run"
    done = subprocess.run(
        [sys.executable, "-m", "config.soak", f"--seed={SEED}", f"--orders={ORDERS}", f"--mode={MODE}", f"--folder={folder}"],
        env=dict(os.environ), cwd=settings.BASE_DIR, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False,
    )  # fmt: skip
    return SimpleNamespace(status=done.returncode, said=done.stdout, folder=folder)


@pytest.fixture
def found(soak):
    """What it left behind, to be lied about."""
    history = [entry for entry in read(soak.folder / "history.jsonl")]
    return SimpleNamespace(history=history, books=books.load(soak.folder / "books.json"))


def violated(found) -> set[str]:
    return {violation.invariant for violation in audit.audit(records.sort(found.history), found.books)}


def test_a_shop_that_keeps_breaking_keeps_its_word(soak):
    assert soak.status == 0, soak.said[-6000:]
    summary = json.loads(soak.said[soak.said.index("\n{\n") :])
    assert sum(summary["orders"].values()) <= ORDERS
    assert summary["orders"]["confirmed"] > ORDERS / 3
    assert summary["kills"] >= max(FAULTS["kill"][1], ORDERS // FAULTS["kill"][0])
    assert summary["heard"].keys() & {"answers lost", "503"}, "the faults struck nobody"
    assert summary["mode"] == MODE
    assert summary["violations"] == 0


def test_the_records_of_an_honest_shop_are_in_order(found):
    assert violated(found) == set()


# Lies: each takes the records of an honest shop and makes them those of one that broke a promise.


def answer_to(found, purpose: str, status: int = 0) -> dict:
    """The first answer to such a request."""
    sent = {
        entry["request"]: entry for entry in found.history if entry["event"] == "sent" and entry["purpose"] == purpose
    }
    fitting = (e for e in found.history if e["event"] == "answered" and e["request"] in sent)
    return next(entry for entry in fitting if status in (0, entry["status"]))


def answered_again(found) -> dict:
    """The last of several final answers to the same key."""
    told = records.sort(found.history).told.values()
    finals = ([one for one in answers if one.status == 201] for answers in told)
    return next(several for several in finals if len(several) > 1)[-1].answered


def retold(entry: dict, **changes) -> None:
    entry["answer"] = json.dumps(json.loads(entry["answer"]) | changes)


def order_of(found, entry: dict) -> books.Order:
    return found.books.orders[json.loads(entry["answer"])["id"]]


def order_that_is(found, status: str) -> books.Order:
    return next(order for order in found.books.orders.values() if order.status == status)


def confirmation_of(found, order: books.Order) -> list[dict]:
    subject = f"Your order {order.number} is confirmed"
    return [entry for entry in found.history if entry["event"] == "mail" and entry["why"] == subject]


def told_order(found) -> books.Order:
    """A confirmed order whose customer has the mail."""
    confirmed = (order for order in found.books.orders.values() if order.status == "confirmed")
    return next(order for order in confirmed if confirmation_of(found, order))


def an_order_is_lost(found):
    del found.books.orders[order_of(found, answer_to(found, "order", 201)).id]


def an_answer_speaks_of_an_order_that_is_not(found):
    retold(answer_to(found, "order", 201), id="0" * 8)


def an_order_has_another_total(found):
    order_of(found, answer_to(found, "order", 201)).total += 1


def an_order_has_another_number(found):
    retold(answer_to(found, "order", 201), number="0000")


def there_is_a_ghost(found):
    ghost = copy.deepcopy(order_that_is(found, "rejected"))
    ghost.id = "ghost"
    found.books.orders["ghost"] = ghost


def somebody_gets_more_than_was_asked_for(found):
    order = order_of(found, answer_to(found, "order", 201))
    sku, quantity, price = order.lines[0]
    order.lines[0] = (sku, quantity + 1, price)


def somebody_elses_address_is_on_it(found):
    order = next(order for order in found.books.orders.values() if order.email.startswith("guest-"))
    order.email = "guest-0-0@example.com"


def a_repeat_made_another_order(found):
    retold(answered_again(found), id=order_that_is(found, "rejected").id)


def a_repeat_is_answered_otherwise(found):
    retold(answered_again(found), status="on_hold")


def a_repeat_is_put_off(found):
    answered_again(found)["status"] = 202


def a_confirmed_order_is_rejected_after_all(found):
    order_of(found, answer_to(found, "order", 201)).status = "rejected"


def an_order_never_comes_to_an_end(found):
    order_that_is(found, "confirmed").step = "capturing"


def a_declined_card_buys(found):
    declined = (key for key, request in records.sort(found.history).requests.items()
                if request["body"]["payment_method"]["token"] == "tok_declined" and key in found.books.keys)  # fmt: skip
    found.books.orders[found.books.keys[next(declined)]].was_confirmed = True


def a_good_card_is_declined(found):
    good = (key for key, request in records.sort(found.history).requests.items()
            if request["body"]["payment_method"]["token"] == "tok_ok" and key in found.books.keys)  # fmt: skip
    found.books.orders[found.books.keys[next(good)]].refusal = "payments.declined"


def a_cancel_did_nothing(found):
    cancel = next(told for told in records.sort(found.history).of("cancel") if told.status in (200, 202))
    found.books.orders[cancel.sent["path"].split("/")[-2]].status = "confirmed"


def somebody_is_charged_twice(found):
    found.books.money[order_that_is(found, "confirmed").id].charges = 2


def a_cancelled_order_keeps_the_money(found):
    money = found.books.money
    paid = next(
        o for o in found.books.orders.values() if o.status == "cancelled" and o.id in money and money[o.id].taken
    )
    money[paid.id].given_back = money[paid.id].refunded = 0


def a_confirmed_order_is_not_paid(found):
    money = found.books.money[order_that_is(found, "confirmed").id]
    money.taken = money.captured = 0


def our_books_are_not_the_providers(found):
    found.books.money[order_that_is(found, "confirmed").id].captured += 1


def money_is_set_aside_for_nothing(found):
    found.books.money[order_that_is(found, "rejected").id] = books.Money(
        payment="p", status="voided", captured=0, refunded=0, intent="authorized"
    )


def a_refund_is_forgotten(found):
    del found.books.refunds[0]


def nobody_asked_for_a_refund(found):
    found.books.refunds.append(books.Refund(key="ghost", payment="p", amount=1, status="done"))


def a_unit_vanishes(found):
    next(iter(found.books.stock.values())).on_hand -= 1


def a_unit_stays_reserved(found):
    next(iter(found.books.stock.values())).reserved += 1


def a_mail_is_never_sent(found):
    order = told_order(found)
    found.history = [entry for entry in found.history if entry not in confirmation_of(found, order)]


def a_mail_is_sent_as_two(found):
    found.history.append(confirmation_of(found, told_order(found))[0] | {"key": "<another@id>"})


def who_has_nothing_is_congratulated(found):
    order = next(order for order in found.books.orders.values() if not order.was_confirmed)
    subject = f"Your order {order.number} is confirmed"
    letter = {"at": 0, "event": "mail", "target": order.email, "key": "<a@b>", "why": subject, "kind": "taken"}
    found.history.append(letter)


def a_letter_goes_astray(found):
    confirmation_of(found, told_order(found))[0]["target"] = "stranger@example.com"


def something_went_wrong_on_our_side(found):
    answer_to(found, "order")["status"] = 500


def an_outage_does_not_say_when_to_come_back(found):
    answer = answer_to(found, "order")
    answer["status"], answer["headers"] = 503, {"Content-Type": "application/problem+json"}


def a_buyer_gave_up(found):
    found.history.append({"at": 0, "event": "given_up", "journey": 1, "purpose": "order", "path": "/", "key": ""})


LIES = {
    an_order_is_lost: "every_acknowledged_order_exists",
    an_answer_speaks_of_an_order_that_is_not: "every_acknowledged_order_exists",
    an_order_has_another_total: "every_acknowledged_order_is_as_it_was_told",
    an_order_has_another_number: "every_acknowledged_order_is_as_it_was_told",
    there_is_a_ghost: "every_order_was_asked_for",
    somebody_gets_more_than_was_asked_for: "every_order_was_asked_for",
    somebody_elses_address_is_on_it: "every_order_was_asked_for",
    a_repeat_made_another_order: "every_key_has_one_order",
    a_repeat_is_answered_otherwise: "every_final_answer_stays",
    a_repeat_is_put_off: "every_final_answer_stays",
    a_confirmed_order_is_rejected_after_all: "every_final_answer_is_true",
    an_order_never_comes_to_an_end: "every_order_is_final",
    a_declined_card_buys: "every_token_leads_where_it_has_to",
    a_good_card_is_declined: "every_token_leads_where_it_has_to",
    a_cancel_did_nothing: "every_cancel_is_true",
    somebody_is_charged_twice: "every_order_is_charged_at_most_once",
    a_cancelled_order_keeps_the_money: "every_cent_is_where_it_belongs",
    a_confirmed_order_is_not_paid: "every_cent_is_where_it_belongs",
    our_books_are_not_the_providers: "every_cent_is_where_it_belongs",
    money_is_set_aside_for_nothing: "every_cent_is_where_it_belongs",
    a_refund_is_forgotten: "every_refund_is_true",
    nobody_asked_for_a_refund: "every_refund_is_true",
    a_unit_vanishes: "every_unit_is_where_it_belongs",
    a_unit_stays_reserved: "every_unit_is_where_it_belongs",
    a_mail_is_never_sent: "every_confirmed_order_has_its_mail",
    a_mail_is_sent_as_two: "every_confirmed_order_has_its_mail",
    who_has_nothing_is_congratulated: "every_confirmed_order_has_its_mail",
    a_letter_goes_astray: "every_letter_goes_to_its_customer",
    something_went_wrong_on_our_side: "every_answer_is_a_declared_one",
    an_outage_does_not_say_when_to_come_back: "every_answer_is_a_declared_one",
    a_buyer_gave_up: "every_request_is_answered",
}


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__name__)
def test_a_lie_is_found(found, lie):
    lie(found)
    assert LIES[lie] in violated(found)


def test_each_check_has_its_lie():
    assert set(LIES.values()) == {check.__name__ for check in audit.CHECKS}


def test_a_mistake_of_the_shop_is_found_in_its_logs(tmp_path):
    outage = json.dumps({"event": "engine_outage", "level": "warning"})
    mistake = json.dumps({"event": "engine_error", "level": "error", "exception": "Traceback: KeyError"})
    killed = "[ERROR] Unexpected exit from worker-1"
    (tmp_path / "web-1.log").write_text(f"{outage}\n{killed}\n{mistake}\nException in thread leases\n")
    barked, crashed = (f"The worker has ended with status {status}, and is started again." for status in (75, 1))
    (tmp_path / "worker-orders.log").write_text(f"\nworker: Warm shutdown (MainProcess)\n{barked}\n{crashed}\n")
    assert [line for _, line in logs.mistakes(tmp_path)] == [mistake, "Exception in thread leases", crashed]


@pytest.mark.parametrize(("error", "logger", "is_outage"), [
    ("redis.exceptions.ConnectionError: refused", "celery.worker.request", True),
    ("AttributeError: 'NoneType' object has no attribute 'hostname'", "celery.worker", False),
    ("redis.exceptions.ConnectionError: refused", "config.messages", False),
])  # fmt: skip
def test_only_a_broker_that_is_away_may_be_told_of_with_a_traceback_and_only_by_celery(tmp_path, error, logger, is_outage):
    said = {"event": "Couldn't ack", "logger": logger, "exception": f"Traceback:\n  in ack\n{error}"}
    (tmp_path / "worker-orders.log").write_text(json.dumps(said))
    assert (list(logs.mistakes(tmp_path)) == []) == is_outage


def test_what_celery_says_is_counted_by_who_says_it(tmp_path):
    lines = [{"event": f"Trying again in {n}.00 seconds", "logger": "celery.worker.consumer.consumer"} for n in (2, 4)]
    lines += [{"event": "engine_outage", "logger": "shop.engine"}]
    (tmp_path / "worker-orders.log").write_text("\n".join(map(json.dumps, lines)))
    assert logs.counts(tmp_path) == {"celery.worker.consumer.consumer": 2, "engine_outage": 1}


def test_a_seed_is_a_schedule():
    assert Plan(1, 300).fingerprint == Plan(1, 300).fingerprint
    assert len({Plan(seed, 300).fingerprint for seed in range(5)}) == 5
    assert {fault.kind for fault in Plan(1, 20).faults()} == set(FAULTS)
    assert sum(fault.kind in ("kill", "database") for fault in Plan(1, 10_000).faults()) >= 500


def test_a_mode_is_a_schedule_of_its_own_for_the_same_buyers():
    monolith, split = Plan(1, 300), Plan(1, 300, "split")
    assert list(monolith.journeys()) == list(split.journeys())
    assert monolith.fingerprint != split.fingerprint
    assert {fault.target for fault in Plan(1, 3000, "split").faults() if fault.kind == "kill"} == {
        part.name for part in split.parts
    }
    assert "wire." in split.inside()["CHAOS"]
    assert "wire." not in monolith.inside()["CHAOS"]


@pytest.mark.parametrize("mode", MODES)
def test_with_celery_the_same_buyers_meet_what_befalls_its_broker_workers_and_beat_too(mode):
    embedded, celery = Plan(1, 3000, mode), Plan(1, 3000, mode, "celery")
    assert list(embedded.journeys()) == list(celery.journeys())
    assert {fault.kind for fault in embedded.faults()} == FAULTS.keys()
    assert {fault.kind for fault in celery.faults()} == FAULTS.keys() | BROKER_FAULTS.keys()
    names = {part.name for part in celery.parts}
    assert {f"worker-{context}" for context in CONTEXTS} | {"beat-1", "broker-1"} < names
    assert {fault.target for fault in celery.faults() if fault.kind == "kill"} == names - {"broker-1"}
    assert {fault.target for fault in celery.faults() if fault.kind in BROKER_FAULTS} == {"broker-1"}


@pytest.mark.parametrize("mode", MODES)
def test_with_celery_servers_ring_and_each_context_has_a_worker_on_the_same_broker(mode, tmp_path):
    shop = build(parts(mode, "celery"), {}, tmp_path)
    [broker] = [process for part, process in shop if part.kind == "broker"]
    others = [(part, process) for part, process in shop if part.kind != "broker"]
    assert {process.environment["BROKER_URL"] for _, process in others} == {f"redis://127.0.0.1:{broker.port}/0"}
    assert {process.environment["ENGINE"] for _, process in others} == {"celery"}
    workers = {part.which: process for part, process in others if part.kind == "worker"}
    assert workers.keys() == set(CONTEXTS)
    hosted = {context: process.environment.get("CONTEXTS", "") for context, process in workers.items()}
    assert hosted == {context: context if mode == "split" else "" for context in CONTEXTS}
    web = {f"http://127.0.0.1:{process.port}" for part, process in others if part.kind == "web"}
    assert {site for sites in Sites(shop).of_context.values() for site in sites} == web


def test_buyers_of_a_split_ask_whoever_hosts_what_they_ask_for(tmp_path):
    shop = build(MODES["split"], {}, tmp_path)
    public = {part.context: f"http://127.0.0.1:{process.port}" for part, process in shop if part.kind == "web"}
    internal = {part.context: f"http://127.0.0.1:{process.port}" for part, process in shop if part.kind == "internal"}
    assert len({*public.values(), *internal.values()}) == 2 * len(CONTEXTS)
    for part, process in shop:
        assert process.environment["CONTEXTS"] == part.context
        assert {context: process.environment[f"{context.upper()}_URL"] for context in CONTEXTS} == internal
    paths = {
        "/api/v1/products?in_stock=true": "inventory", "/api/v1/carts": "orders", "/api/v1/auth/token": "users",
        "/api/v1/payments/5/refunds": "payments", "/api/v1/notifications": "notifications", "/admin/": "orders",
        "/admin/payments/payment/": "payments",
    }  # fmt: skip
    sites = Sites(shop)
    assert {path: sites.of(path) for path in paths} == {path: [public[host]] for path, host in paths.items()}


def test_buyers_of_one_shop_ask_any_of_its_servers(tmp_path):
    shop = build(MODES["monolith"], {}, tmp_path)
    assert len(Sites(shop).of("/api/v1/orders")) == 3


def test_a_soak_does_not_touch_a_folder_that_is_in_use(tmp_path: Path):
    (tmp_path / "precious").touch()
    done = subprocess.run([sys.executable, "-m", "config.soak", f"--folder={tmp_path}"], capture_output=True, text=True,
                          cwd=settings.BASE_DIR, check=False)  # fmt: skip
    assert (done.returncode, done.stderr.strip()) == (
        1,
        f"{tmp_path} is not empty; a soak begins with a folder of its own",
    )
    assert [entry.name for entry in tmp_path.iterdir()] == ["precious"]
