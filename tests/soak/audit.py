"""The audit: compare what buyers and the mail server recorded with the databases once everything is final.

Each check is one promise of the shop and is named after it. It yields every violation: the subject, and what is wrong.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator

from ops.verify import Violation
from tests.soak.database_state import DatabaseState, Order
from tests.soak.records import ORDER_PURPOSES, Exchange, Records

Findings = Iterator[tuple[str, str]]
Check = Callable[[Records, DatabaseState], Findings]

DECLARED_STATUSES = {
    "order": {201, 202, 402, 409},
    "repeat": {201, 402, 409},  # sent when every order is final
    "reuse": {422},
    "cancel": {200, 202, 409},
    "read": {200},
    "refund": {201, 202, 409},
    "approve": {200, 409},
    "decline": {200, 409},
    "cart": {201},
    "fill": {200, 409},  # 409: more than can be bought
    "browse": {200},
    "register": {201},
    "sign_in": {200},
}
NEVER_CONFIRMED = ("tok_declined", "tok_error")
NEVER_DECLINED = ("tok_ok", "tok_timeout_then_ok", "tok_capture_refused", "tok_capture_timeout_then_ok")


def every_request_is_answered(records: Records, state: DatabaseState) -> Findings:
    for entry in records.abandoned:
        yield str(entry["journey"]), f"{entry['purpose']} {entry['path']} was never answered"


def every_answer_has_a_declared_status(records: Records, state: DatabaseState) -> Findings:
    """A 5xx is a 503 with Retry-After; otherwise each request has its declared statuses."""
    for exchange in records.answers:
        headers = exchange.answered["headers"]
        if exchange.status == 503 and "Retry-After" in headers and "problem+json" in headers.get("Content-Type", ""):
            continue
        if exchange.status not in DECLARED_STATUSES[exchange.sent["purpose"]]:
            subject = exchange.sent["key"] or exchange.sent["path"]
            yield (
                subject,
                f"{exchange.sent['purpose']} was answered {exchange.status}: {exchange.answered['answer'][:300]}",
            )


def every_acknowledged_order_exists(records: Records, state: DatabaseState) -> Findings:
    for exchange in records.of(*ORDER_PURPOSES):
        if exchange.order_id and exchange.order_id not in state.orders:
            yield exchange.order_id, f"was answered {exchange.status} to {exchange.sent['key']}, but does not exist"


def every_acknowledged_order_matches_its_response(records: Records, state: DatabaseState) -> Findings:
    for exchange in records.of(*ORDER_PURPOSES):
        order = state.orders.get(exchange.order_id or "")
        if order and exchange.status in (201, 202) and (wrong := _find_differences(exchange.body, order)):
            yield order.id, f"{wrong} differ from the response to {exchange.sent['key']}"


def _find_differences(body: dict, order: Order) -> str:
    lines = [(line["sku"], line["quantity"], line["unit_price"]["amount"]) for line in body["lines"]]
    answered = (body["number"], body["email"], body["totals"]["total"]["amount"], lines)
    parts = zip(
        ("number", "email", "total", "lines"),
        answered,
        (order.number, order.email, order.total, order.lines),
        strict=True,
    )
    return " and ".join(name for name, expected, stored in parts if expected != stored)


def every_order_was_requested(records: Records, state: DatabaseState) -> Findings:
    """Each order has one key, and a buyer has sent a request with that key for exactly this order."""
    keys: dict[str, list[str]] = defaultdict(list)
    for key, order_id in state.keys.items():
        keys[order_id or ""].append(key)
    for order in state.orders.values():
        known = [key for key in keys[order.id] if key in records.requests]
        if len(known) != 1 or len(keys[order.id]) != 1:
            yield order.id, f"has the keys {keys[order.id]}, but buyers have sent {known}"
        elif wrong := _find_unrequested(order, records, known[0]):
            yield order.id, wrong


def _find_unrequested(order: Order, records: Records, key: str) -> str:
    units: Counter[str] = Counter()
    for sku, quantity, _ in order.lines:
        units[sku] += quantity
    email = records.requests[key]["body"].get("email", order.email)
    if units != records.wanted(key) or email != order.email:
        return f"is {dict(units)} for {order.email}; {key} requested {records.wanted(key)} for {email}"
    return ""


def every_key_has_one_order(records: Records, state: DatabaseState) -> Findings:
    for key, answers in records.answers_by_key.items():
        orders = {exchange.order_id for exchange in answers if exchange.order_id}
        if len(orders | ({state.keys[key]} if key in state.keys else set())) > 1:
            yield key, f"was answered with the orders {sorted(orders)}; the database has {state.keys.get(key)}"


def every_final_answer_stays(records: Records, state: DatabaseState) -> Findings:
    for key, answers in records.answers_by_key.items():
        finals = {(exchange.status, exchange.answered["answer"]) for exchange in answers if exchange.is_final}
        if len(finals) > 1:
            yield key, f"got {len(finals)} different final responses: {sorted(status for status, _ in finals)}"
        after = [
            exchange.status
            for exchange in _list_later_responses(answers)
            if not exchange.is_final and exchange.status < 500
        ]
        if any(status == 202 for status in after):
            yield key, "got a 202 after its final response"


def _list_later_responses(answers: list[Exchange]) -> list[Exchange]:
    """Return the responses to requests that were sent after the first final response."""
    first = min((exchange.answered["at"] for exchange in answers if exchange.is_final), default=None)
    return [exchange for exchange in answers if first is not None and exchange.sent["at"] > first]


def every_final_answer_is_true(records: Records, state: DatabaseState) -> Findings:
    cancelled = {exchange.sent["path"].split("/")[-2] for exchange in records.of("cancel")}
    for answers in records.answers_by_key.values():
        for exchange in answers:
            order = state.orders.get(exchange.order_id or "")
            if order and exchange.is_final and order.status not in _list_allowed_outcomes(exchange, order, cancelled):
                yield order.id, f"was answered {exchange.status}, but is {order.status} at the end"


def _list_allowed_outcomes(exchange: Exchange, order: Order, cancelled: set[str]) -> set[str]:
    """Return the final statuses that an order may have after this response."""
    if exchange.status == 201:
        may_be_cancelled = (
            order.id in cancelled or exchange.sent["body"]["payment_method"]["token"] == "tok_capture_refused"
        )
        return {"confirmed", "cancelled"} if may_be_cancelled else {"confirmed"}
    return {"cancelled"} if exchange.body["code"] == "orders.order_was_cancelled" else {"rejected"}


def every_order_is_final(records: Records, state: DatabaseState) -> Findings:
    for order in state.orders.values():
        if (order.status, order.step) not in (("confirmed", "done"), ("rejected", "closed"), ("cancelled", "closed")):
            yield order.id, f"is {order.status} at step {order.step}"


def every_card_has_its_declared_outcome(records: Records, state: DatabaseState) -> Findings:
    for key, order_id in state.keys.items():
        order, request = state.orders.get(order_id or ""), records.requests.get(key)
        if order is None or request is None:
            continue
        token = request["body"]["payment_method"]["token"]
        if token in NEVER_CONFIRMED and order.was_confirmed:
            yield order.id, f"was confirmed with {token}"
        if token in NEVER_DECLINED and order.refusal == "payments.declined":
            yield order.id, f"was declined with {token}"
        if token == "tok_capture_refused" and order.status == "confirmed":
            yield order.id, f"is confirmed at the end with {token}"


def every_cancel_is_true(records: Records, state: DatabaseState) -> Findings:
    for exchange in records.of("cancel"):
        order = state.orders.get(exchange.sent["path"].split("/")[-2])
        if order is None:
            yield exchange.sent["path"], "was answered for an order that does not exist"
        elif exchange.status in (200, 202) and order.status not in ("cancelled", "rejected"):
            yield order.id, f"the cancel was answered {exchange.status}, but the order is {order.status}"
        elif exchange.status == 200 and exchange.body["status"] != order.status:
            yield (
                order.id,
                f"the cancel was answered 200 with {exchange.body['status']}, but the order is {order.status}",
            )
        elif exchange.status == 409 and exchange.body.get("facts", {}).get("present") != order.status:
            yield order.id, f"the cancel was refused with {exchange.body['facts']}, but the order is {order.status}"


def every_order_is_charged_at_most_once(records: Records, state: DatabaseState) -> Findings:
    for order_id, money in state.money.items():
        if money.charges > 1:
            yield order_id, f"was charged {money.charges} times"


def every_order_has_the_right_money(records: Records, state: DatabaseState) -> Findings:
    """In the tables of the provider a confirmed order is paid, less the refunds of staff; any other order is not paid."""
    refunded: Counter[str] = Counter()
    for refund in state.refunds:
        refunded[refund.payment] += refund.amount if refund.status == "done" else 0
    for order in state.orders.values():
        money = state.money.get(order.id)
        if money and (money.provider_captured, money.provider_refunded) != (money.captured, money.refunded):
            yield (
                order.id,
                f"at the provider {money.provider_captured} captured, {money.provider_refunded} refunded, in payments: {money}",
            )
        if order.status == "confirmed":
            due = (order.total, refunded[money.payment]) if money else None
            if money is None or (money.provider_captured, money.provider_refunded) != due:
                yield order.id, f"is confirmed with {due}, but its money is {money}"
        elif money and (
            money.provider_captured != money.provider_refunded or money.intent in ("authorized", "requires_action")
        ):
            yield order.id, f"is {order.status}, but its money is {money}"
    for order_id in state.money.keys() - state.orders.keys():
        yield order_id, "has a payment, but does not exist"


def every_refund_is_true(records: Records, state: DatabaseState) -> Findings:
    known = {refund.key: refund for refund in state.refunds}
    for exchange in records.of("refund"):
        refund = known.get(exchange.sent["key"])
        if exchange.status in (201, 202) and (refund is None or refund.status != "done"):
            yield exchange.sent["key"], f"was answered {exchange.status}, but is {refund}"
        elif refund and exchange.status in (201, 202) and refund.amount != exchange.body["amount"]["amount"]:
            yield exchange.sent["key"], f"was answered with {exchange.body['amount']}, but is {refund}"
    for key in known.keys() - records.refund_keys:
        yield key, "is a refund that was not requested"


def every_unit_of_stock_is_accounted_for(records: Records, state: DatabaseState) -> Findings:
    sold: Counter[str] = Counter()
    for order in state.orders.values():
        for sku, quantity, _ in order.lines if order.status == "confirmed" else ():
            sold[sku] += quantity
    for sku, stock in state.stock.items():
        if (stock.on_hand, stock.reserved) != (stock.initial - sold[sku], 0) or stock.on_hand < 0:
            yield sku, f"{sold[sku]} of {stock.initial} are sold, but the stock is {stock}"


def every_confirmed_order_has_its_mail(records: Records, state: DatabaseState) -> Findings:
    """The mail server accepted one Message-ID for each confirmed order, unless it rejected the address; none for others."""
    mails_by_subject = defaultdict(list)
    rejected = {mail["target"] for mail in records.mails if mail["kind"] == "550"}
    for mail in records.mails:
        if mail["key"]:
            mails_by_subject[mail["why"]].append(mail)
    failed = {m.order for m in state.messages if m.template == "order_confirmed" and m.status == "failed"}
    for order in state.orders.values():
        mails = mails_by_subject[f"Your order {order.number} is confirmed"]
        is_accepted = any(mail["kind"] == "accepted" for mail in mails)
        if order.was_confirmed and not is_accepted and not (order.id in failed and order.email in rejected):
            yield order.id, f"has no accepted mail; attempts were {mails}"
        if mails and not order.was_confirmed:
            yield order.id, "was never confirmed, but has a confirmation mail"
        if len({mail["key"] for mail in mails}) > 1:
            yield order.id, f"has mails of different Message-IDs: {mails}"


def every_mail_goes_to_its_customer(records: Records, state: DatabaseState) -> Findings:
    numbers = {order.number: order.email for order in state.orders.values()}
    for mail in records.mails:
        if mail["key"] and numbers.get(mail["why"].split(" ")[2]) != mail["target"]:
            yield mail["why"], f"was sent to {mail['target']}"


CHECKS: tuple[Check, ...] = (
    every_request_is_answered,
    every_answer_has_a_declared_status,
    every_acknowledged_order_exists,
    every_acknowledged_order_matches_its_response,
    every_order_was_requested,
    every_key_has_one_order,
    every_final_answer_stays,
    every_final_answer_is_true,
    every_order_is_final,
    every_card_has_its_declared_outcome,
    every_cancel_is_true,
    every_order_is_charged_at_most_once,
    every_order_has_the_right_money,
    every_refund_is_true,
    every_unit_of_stock_is_accounted_for,
    every_confirmed_order_has_its_mail,
    every_mail_goes_to_its_customer,
)


def audit(records: Records, state: DatabaseState) -> list[Violation]:
    """Return all violations."""
    return [Violation(check.__name__, subject, detail) for check in CHECKS for subject, detail in check(records, state)]
