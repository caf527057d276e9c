"""The audit: what buyers and the mail server saw against what the databases say once all is final.

Each check is one promise, by its name, and yields what breaks it: whose it is, and what is wrong.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator

from config.soak.books import Books, Order
from config.soak.records import ORDERING, Records, Told
from config.verify import Violation

Found = Iterator[tuple[str, str]]
Check = Callable[[Records, Books], Found]

DECLARED = {
    "order": {201, 202, 402, 409},
    "repeat": {201, 402, 409},  # all is final by then
    "reuse": {422},
    "cancel": {200, 202, 409},
    "refund": {201, 202, 409},
    "approve": {200, 409},
    "decline": {200, 409},
    "cart": {201},
    "fill": {200},
    "browse": {200},
    "register": {201},
    "sign_in": {200},
}
NEVER_CONFIRMED = ("tok_declined", "tok_error")
NEVER_DECLINED = ("tok_ok", "tok_timeout_then_ok", "tok_capture_refused", "tok_capture_timeout_then_ok")


def every_request_is_answered(records: Records, books: Books) -> Found:
    for entry in records.given_up:
        yield str(entry["journey"]), f"{entry['purpose']} {entry['path']} was given up"


def every_answer_is_a_declared_one(records: Records, books: Books) -> Found:
    """A 5xx is a 503 that says when to come back; else each request has its few answers."""
    for told in records.answers:
        headers = told.answered["headers"]
        if told.status == 503 and "Retry-After" in headers and "problem+json" in headers.get("Content-Type", ""):
            continue
        if told.status not in DECLARED[told.sent["purpose"]]:
            subject = told.sent["key"] or told.sent["path"]
            yield subject, f"{told.sent['purpose']} was answered {told.status}: {told.answered['answer'][:300]}"


def every_acknowledged_order_exists(records: Records, books: Books) -> Found:
    for told in records.of(*ORDERING):
        if told.order_id and told.order_id not in books.orders:
            yield told.order_id, f"was answered {told.status} to {told.sent['key']}, and is not there"


def every_acknowledged_order_is_as_it_was_told(records: Records, books: Books) -> Found:
    for told in records.of(*ORDERING):
        order = books.orders.get(told.order_id or "")
        if order and told.status in (201, 202) and (wrong := _differs(told.body, order)):
            yield order.id, f"{wrong} is not as it was answered to {told.sent['key']}"


def _differs(body: dict, order: Order) -> str:
    lines = [(line["sku"], line["quantity"], line["unit_price"]["amount"]) for line in body["lines"]]
    told = (body["number"], body["email"], body["totals"]["total"]["amount"], lines)
    parts = zip(
        ("number", "email", "total", "lines"), told, (order.number, order.email, order.total, order.lines), strict=True
    )
    return " and ".join(name for name, one, other in parts if one != other)


def every_order_was_asked_for(records: Records, books: Books) -> Found:
    """No ghosts: each order has one key, a buyer has sent it, and asked for just this."""
    keys: dict[str, list[str]] = defaultdict(list)
    for key, order_id in books.keys.items():
        keys[order_id or ""].append(key)
    for order in books.orders.values():
        known = [key for key in keys[order.id] if key in records.requests]
        if len(known) != 1 or len(keys[order.id]) != 1:
            yield order.id, f"has the keys {keys[order.id]}, of which buyers have sent {known}"
        elif wrong := _not_wanted(order, records, known[0]):
            yield order.id, wrong


def _not_wanted(order: Order, records: Records, key: str) -> str:
    units: Counter[str] = Counter()
    for sku, quantity, _ in order.lines:
        units[sku] += quantity
    email = records.requests[key]["body"].get("email", order.email)
    if units != records.wanted(key) or email != order.email:
        return f"is {dict(units)} for {order.email}; {key} asked for {records.wanted(key)} for {email}"
    return ""


def every_key_has_one_order(records: Records, books: Books) -> Found:
    for key, answers in records.told.items():
        orders = {told.order_id for told in answers if told.order_id}
        if len(orders | ({books.keys[key]} if key in books.keys else set())) > 1:
            yield key, f"was told of {sorted(orders)}; the shop knows {books.keys.get(key)}"


def every_final_answer_stays(records: Records, books: Books) -> Found:
    for key, answers in records.told.items():
        finals = {(told.status, told.answered["answer"]) for told in answers if told.is_final}
        if len(finals) > 1:
            yield key, f"got {len(finals)} different final answers: {sorted(status for status, _ in finals)}"
        after = [told.status for told in _after_the_first_final(answers) if not told.is_final and told.status < 500]
        if any(status == 202 for status in after):
            yield key, "got a 202 after its final answer"


def _after_the_first_final(answers: list[Told]) -> list[Told]:
    """Those to requests that were sent when a final answer was already there."""
    first = min((told.answered["at"] for told in answers if told.is_final), default=None)
    return [told for told in answers if first is not None and told.sent["at"] > first]


def every_final_answer_is_true(records: Records, books: Books) -> Found:
    cancelled = {told.sent["path"].split("/")[-2] for told in records.of("cancel")}
    for answers in records.told.values():
        for told in answers:
            order = books.orders.get(told.order_id or "")
            if order and told.is_final and order.status not in _true_ends(told, order, cancelled):
                yield order.id, f"was answered {told.status}, and is {order.status} at the end"


def _true_ends(told: Told, order: Order, cancelled: set[str]) -> set[str]:
    """How an order may end that was answered so."""
    if told.status == 201:
        given_up = order.id in cancelled or told.sent["body"]["payment_method"]["token"] == "tok_capture_refused"
        return {"confirmed", "cancelled"} if given_up else {"confirmed"}
    return {"cancelled"} if told.body["code"] == "orders.order_was_cancelled" else {"rejected"}


def every_order_is_final(records: Records, books: Books) -> Found:
    for order in books.orders.values():
        if (order.status, order.step) not in (("confirmed", "done"), ("rejected", "closed"), ("cancelled", "closed")):
            yield order.id, f"is {order.status} at step {order.step}"


def every_token_leads_where_it_has_to(records: Records, books: Books) -> Found:
    for key, order_id in books.keys.items():
        order, request = books.orders.get(order_id or ""), records.requests.get(key)
        if order is None or request is None:
            continue
        token = request["body"]["payment_method"]["token"]
        if token in NEVER_CONFIRMED and order.was_confirmed:
            yield order.id, f"was confirmed with {token}"
        if token in NEVER_DECLINED and order.refusal == "payments.declined":
            yield order.id, f"was declined with {token}"
        if token == "tok_capture_refused" and order.status == "confirmed":
            yield order.id, f"is confirmed at the end with {token}"


def every_cancel_is_true(records: Records, books: Books) -> Found:
    for told in records.of("cancel"):
        order = books.orders.get(told.sent["path"].split("/")[-2])
        if order is None:
            yield told.sent["path"], "was answered for an order that is not there"
        elif told.status in (200, 202) and order.status not in ("cancelled", "rejected"):
            yield order.id, f"the cancel was answered {told.status}, and it is {order.status}"
        elif told.status == 200 and told.body["status"] != order.status:
            yield order.id, f"the cancel was answered 200 with {told.body['status']}, and it is {order.status}"
        elif told.status == 409 and told.body.get("facts", {}).get("present") != order.status:
            yield order.id, f"the cancel was refused for {told.body['facts']}, and it is {order.status}"


def every_order_is_charged_at_most_once(records: Records, books: Books) -> Found:
    for order_id, money in books.money.items():
        if money.charges > 1:
            yield order_id, f"was charged {money.charges} times"


def every_cent_is_where_it_belongs(records: Records, books: Books) -> Found:
    """By the provider's own books: a confirmed order is paid but for staff's refunds, any other one is not."""
    back: Counter[str] = Counter()
    for refund in books.refunds:
        back[refund.payment] += refund.amount if refund.status == "done" else 0
    for order in books.orders.values():
        money = books.money.get(order.id)
        if money and (money.taken, money.given_back) != (money.captured, money.refunded):
            yield (
                order.id,
                f"the provider took {money.taken} and gave {money.given_back} back; our books differ: {money}",
            )
        if order.status == "confirmed":
            due = (order.total, back[money.payment]) if money else None
            if money is None or (money.taken, money.given_back) != due:
                yield order.id, f"is confirmed over {due}, and its money is {money}"
        elif money and (money.taken != money.given_back or money.intent in ("authorized", "requires_action")):
            yield order.id, f"is {order.status}, and its money is {money}"
    for order_id in books.money.keys() - books.orders.keys():
        yield order_id, "has a payment, and is not there"


def every_refund_is_true(records: Records, books: Books) -> Found:
    known = {refund.key: refund for refund in books.refunds}
    for told in records.of("refund"):
        refund = known.get(told.sent["key"])
        if told.status in (201, 202) and (refund is None or refund.status != "done"):
            yield told.sent["key"], f"was answered {told.status}, and is {refund}"
        elif refund and told.status in (201, 202) and refund.amount != told.body["amount"]["amount"]:
            yield told.sent["key"], f"was answered over {told.body['amount']}, and is {refund}"
    for key in known.keys() - records.refund_keys:
        yield key, "is a refund that nobody asked for"


def every_unit_is_where_it_belongs(records: Records, books: Books) -> Found:
    sold: Counter[str] = Counter()
    for order in books.orders.values():
        for sku, quantity, _ in order.lines if order.status == "confirmed" else ():
            sold[sku] += quantity
    for sku, stock in books.stock.items():
        if (stock.on_hand, stock.reserved) != (stock.initial - sold[sku], 0) or stock.on_hand < 0:
            yield sku, f"{sold[sku]} of {stock.initial} are sold, and the stock is {stock}"


def every_confirmed_order_has_its_mail(records: Records, books: Books) -> Found:
    """One Message-ID that the mail server has taken, unless it has refused the address for good; never for another."""
    letters = defaultdict(list)
    rejected = {letter["target"] for letter in records.letters if letter["kind"] == "550"}
    for letter in records.letters:
        if letter["key"]:
            letters[letter["why"]].append(letter)
    failed = {m.order for m in books.messages if m.template == "order_confirmed" and m.status == "failed"}
    for order in books.orders.values():
        mine = letters[f"Your order {order.number} is confirmed"]
        taken = any(letter["kind"] == "taken" for letter in mine)
        if order.was_confirmed and not taken and not (order.id in failed and order.email in rejected):
            yield order.id, f"has no mail; seen were {mine}"
        if mine and not order.was_confirmed:
            yield order.id, "was never confirmed, and has a mail that says so"
        if len({letter["key"] for letter in mine}) > 1:
            yield order.id, f"has mails of different Message-IDs: {mine}"


def every_letter_goes_to_its_customer(records: Records, books: Books) -> Found:
    numbers = {order.number: order.email for order in books.orders.values()}
    for letter in records.letters:
        if letter["key"] and numbers.get(letter["why"].split(" ")[2]) != letter["target"]:
            yield letter["why"], f"went to {letter['target']}"


CHECKS: tuple[Check, ...] = (
    every_request_is_answered,
    every_answer_is_a_declared_one,
    every_acknowledged_order_exists,
    every_acknowledged_order_is_as_it_was_told,
    every_order_was_asked_for,
    every_key_has_one_order,
    every_final_answer_stays,
    every_final_answer_is_true,
    every_order_is_final,
    every_token_leads_where_it_has_to,
    every_cancel_is_true,
    every_order_is_charged_at_most_once,
    every_cent_is_where_it_belongs,
    every_refund_is_true,
    every_unit_is_where_it_belongs,
    every_confirmed_order_has_its_mail,
    every_letter_goes_to_its_customer,
)


def audit(records: Records, books: Books) -> list[Violation]:
    """Everything that breaks a promise."""
    return [Violation(check.__name__, subject, detail) for check in CHECKS for subject, detail in check(records, books)]
