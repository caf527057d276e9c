"""The built-in provider: somebody else's service, as far as payments can tell, that needs no network.

It keeps its own truth in tables of its own, each call one statement that commits by itself, and never looks at a payment.
What a token does is in TOKENS; see also `approve` and `decline`, which are its customer's page (3-D Secure).
"""

from typing import Any
from uuid import UUID

from django.conf import settings

from contexts.payments.providers import Answer
from shop.database import Prepared, rows
from shop.errors import Conflict, NotFound, Unavailable
from shop.money import Money
from shop.transactions import refuse

ALIAS = "payments"
PAGE = "{site}/api/v1/payments/sandbox/{reference}/approve"

# What a token leads to: the intent's status after confirm, and the reason for it.
TOKENS = {
    "tok_ok": ("authorized", ""),
    "tok_declined": ("declined", "card_declined"),
    "tok_requires_action": ("requires_action", ""),
    "tok_timeout_then_ok": ("authorized", ""),  # and no answer
    "tok_capture_refused": ("authorized", ""),
    "tok_capture_timeout_then_ok": ("authorized", ""),  # the first capture happens, and gets no answer
}

_CONFIRM = Prepared("""
INSERT INTO payments_sandboxintent AS intent (reference, token, amount, currency, status, reason, charges)
VALUES (%s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (reference) DO UPDATE SET confirms = intent.confirms + 1
RETURNING status, reason""")

_CAPTURE = Prepared("""
UPDATE payments_sandboxintent SET
    captures = captures + 1,
    captured = CASE WHEN status = 'authorized' AND token <> 'tok_capture_refused' THEN %s ELSE captured END,
    status = CASE WHEN status = 'authorized' AND token <> 'tok_capture_refused' THEN 'captured' ELSE status END
WHERE reference = %s RETURNING status, token, captures""")

_CANCEL = """
INSERT INTO payments_sandboxintent AS intent (reference, status, confirms) VALUES (%s, 'cancelled', 0)
ON CONFLICT (reference) DO UPDATE
SET status = CASE WHEN intent.status IN ('captured', 'declined') THEN intent.status ELSE 'cancelled' END
RETURNING status, reason"""

_REFUND = """
WITH intent AS (
    SELECT reference FROM payments_sandboxintent
    WHERE reference = %s AND status = 'captured' AND refunded + %s <= captured FOR UPDATE),
refund AS (
    INSERT INTO payments_sandboxrefund (key, reference, amount) SELECT %s, reference, %s FROM intent
    ON CONFLICT (key) DO NOTHING RETURNING reference, amount)
UPDATE payments_sandboxintent taken SET refunded = refunded + refund.amount
FROM refund WHERE taken.reference = refund.reference RETURNING 1"""

_DECIDE = """
UPDATE payments_sandboxintent SET status = %s, reason = %s, charges = charges + %s
WHERE reference = %s AND status = 'requires_action' RETURNING 1"""


class NoSuchIntent(NotFound):
    """The sandbox knows no such payment."""


class NoActionNeeded(Conflict):
    """This payment does not wait for its customer."""


class Sandbox:
    """A provider for development and tests, with the states of a real one."""

    def reference(self, payment_id: UUID) -> str:
        return f"sb_{payment_id.hex}"

    def confirm(self, *, reference: str, amount: Money, token: str) -> Answer:
        if token == "tok_error":
            refuse("the payment provider was called")
            raise Unavailable(what="The sandbox")
        status, reason = TOKENS.get(token, ("declined", "unknown_token"))
        charges = int(status == "authorized")
        [(status, reason)] = _call(
            _CONFIRM, reference, token[:100], amount.amount, amount.currency, status, reason, charges
        )
        if token == "tok_timeout_then_ok":
            raise Unavailable(what="The sandbox")
        return _answer(reference, status, reason)

    def retrieve(self, *, reference: str) -> Answer:
        found = _call("SELECT status, reason FROM payments_sandboxintent WHERE reference = %s", reference)
        return _answer(reference, *found[0]) if found else Answer("not_found")

    def capture(self, *, reference: str, amount: Money, key: str) -> Answer:
        found = _call(_CAPTURE, amount.amount, reference)
        if not found:
            return Answer("refused", "no_such_intent")
        [(status, token, captures)] = found
        if token == "tok_capture_timeout_then_ok" and captures == 1:
            raise Unavailable(what="The sandbox")
        return Answer("captured") if status == "captured" else Answer("refused", f"capture_refused_{status}")

    def cancel(self, *, reference: str) -> Answer:
        [(status, reason)] = _call(_CANCEL, reference)
        return _answer(reference, status, reason)

    def refund(self, *, reference: str, amount: Money, key: str) -> Answer:
        if _call(_REFUND, reference, amount.amount, key, amount.amount):
            return Answer("refunded")
        known = _call("SELECT 1 FROM payments_sandboxrefund WHERE key = %s", key)
        return Answer("refunded") if known else Answer("refused", "nothing_to_refund")

    def approve(self, *, reference: str) -> None:
        """The customer has said yes on the sandbox's page. Raises NoSuchIntent, NoActionNeeded."""
        self._decide(reference, "authorized", "", 1)

    def decline(self, *, reference: str) -> None:
        """The customer has said no. Raises NoSuchIntent, NoActionNeeded."""
        self._decide(reference, "declined", "declined_by_customer", 0)

    def _decide(self, reference: str, status: str, reason: str, charges: int) -> None:
        if not _call(_DECIDE, status, reason, charges, reference):
            raise NoSuchIntent if self.retrieve(reference=reference).status == "not_found" else NoActionNeeded


def _call(sql: str, *parameters: Any) -> list[tuple]:
    refuse("the payment provider was called")
    return rows(ALIAS, sql, parameters)


def _answer(reference: str, status: Any, reason: str) -> Answer:
    url = PAGE.format(site=settings.SITE_URL, reference=reference) if status == "requires_action" else ""
    return Answer(status, reason, url)


provider = Sandbox()
