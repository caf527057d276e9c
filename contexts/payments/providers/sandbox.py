"""The built-in provider for development and tests. It needs no network and behaves like an external service.

It keeps its state in its own tables, commits each call as one statement, and never reads a payment. `Token` lists the
test tokens. `approve` and `decline` stand for the provider's page (3-D Secure).
"""

from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings

from contexts.payments.providers import ProviderResponse, ProviderStatus
from shop.db.database import PreparedStatement, fetch_rows
from shop.db.transactions import assert_no_open_transaction
from shop.errors import Conflict, NotFound, Unavailable
from shop.money import Money

ALIAS = "payments"
APPROVAL_URL_TEMPLATE = "{site}/api/v1/payments/sandbox/{reference}/approve"


class Token(StrEnum):
    """The test tokens. Any other token is declined."""

    OK = "tok_ok"
    DECLINED = "tok_declined"
    REQUIRES_ACTION = "tok_requires_action"
    ERROR = "tok_error"  # Unavailable, without an effect
    TIMEOUT_THEN_OK = "tok_timeout_then_ok"  # authorized, but Unavailable
    CAPTURE_REFUSED = "tok_capture_refused"
    CAPTURE_TIMEOUT_THEN_OK = "tok_capture_timeout_then_ok"  # the first capture takes effect, but is Unavailable


class TokenOutcome(NamedTuple):
    """The status of an intent after confirm, and the reason for it."""

    status: ProviderStatus
    reason: str = ""


_AUTHORIZED = TokenOutcome(ProviderStatus.AUTHORIZED)
TOKEN_OUTCOMES: dict[str, TokenOutcome] = {
    Token.OK: _AUTHORIZED,
    Token.DECLINED: TokenOutcome(ProviderStatus.DECLINED, "card_declined"),
    Token.REQUIRES_ACTION: TokenOutcome(ProviderStatus.REQUIRES_ACTION),
    Token.TIMEOUT_THEN_OK: _AUTHORIZED,
    Token.CAPTURE_REFUSED: _AUTHORIZED,
    Token.CAPTURE_TIMEOUT_THEN_OK: _AUTHORIZED,
}
_UNKNOWN_TOKEN = TokenOutcome(ProviderStatus.DECLINED, "unknown_token")

_CONFIRM_SQL = PreparedStatement("""
INSERT INTO payments_sandboxintent AS intent (reference, token, amount, currency, status, reason, charges)
VALUES (%(reference)s, %(token)s, %(amount)s, %(currency)s, %(status)s, %(reason)s, %(charges)s)
ON CONFLICT (reference) DO UPDATE SET confirms = intent.confirms + 1
RETURNING status, reason""")

_CAPTURE_SQL = PreparedStatement("""
UPDATE payments_sandboxintent SET
    captures = captures + 1,
    captured = CASE WHEN status = 'authorized' AND token <> 'tok_capture_refused' THEN %(amount)s ELSE captured END,
    status = CASE WHEN status = 'authorized' AND token <> 'tok_capture_refused' THEN 'captured' ELSE status END
WHERE reference = %(reference)s RETURNING status, token, captures""")

_RETRIEVE_SQL = "SELECT status, reason FROM payments_sandboxintent WHERE reference = %(reference)s"

_CANCEL_SQL = """
INSERT INTO payments_sandboxintent AS intent (reference, status, confirms) VALUES (%(reference)s, 'cancelled', 0)
ON CONFLICT (reference) DO UPDATE
SET status = CASE WHEN intent.status IN ('captured', 'declined') THEN intent.status ELSE 'cancelled' END
RETURNING status, reason"""

_REFUND_SQL = """
WITH intent AS (
    SELECT reference FROM payments_sandboxintent
    WHERE reference = %(reference)s AND status = 'captured' AND refunded + %(amount)s <= captured FOR UPDATE),
refund AS (
    INSERT INTO payments_sandboxrefund (key, reference, amount) SELECT %(key)s, reference, %(amount)s FROM intent
    ON CONFLICT (key) DO NOTHING RETURNING reference, amount)
UPDATE payments_sandboxintent taken SET refunded = refunded + refund.amount
FROM refund WHERE taken.reference = refund.reference RETURNING 1"""
_FIND_REFUND_SQL = "SELECT 1 FROM payments_sandboxrefund WHERE key = %(key)s"

_DECIDE_SQL = """
UPDATE payments_sandboxintent SET status = %(status)s, reason = %(reason)s, charges = charges + %(charges)s
WHERE reference = %(reference)s AND status = 'requires_action' RETURNING 1"""


class NoSuchIntent(NotFound):
    """The sandbox does not know this payment."""


class NoActionNeeded(Conflict):
    """This payment does not wait for an action of its customer."""


class Sandbox:
    """A provider for development and tests, with the states of a real one."""

    def reference(self, payment_id: UUID) -> str:
        return f"sb_{payment_id.hex}"

    def confirm(self, *, reference: str, amount: Money, token: str) -> ProviderResponse:
        if token == Token.ERROR:
            assert_no_open_transaction("the payment provider was called")
            raise Unavailable(what="The sandbox")
        outcome = TOKEN_OUTCOMES.get(token, _UNKNOWN_TOKEN)
        [(status, reason)] = _execute(
            _CONFIRM_SQL,
            reference=reference,
            token=token[:100],
            amount=amount.amount,
            currency=amount.currency,
            status=outcome.status.value,
            reason=outcome.reason,
            charges=_count_charges(outcome.status),
        )
        if token == Token.TIMEOUT_THEN_OK:
            raise Unavailable(what="The sandbox")
        return _to_response(reference, status, reason)

    def retrieve(self, *, reference: str) -> ProviderResponse:
        found = _execute(_RETRIEVE_SQL, reference=reference)
        return _to_response(reference, *found[0]) if found else ProviderResponse(ProviderStatus.NOT_FOUND)

    def capture(self, *, reference: str, amount: Money, key: str) -> ProviderResponse:
        found = _execute(_CAPTURE_SQL, reference=reference, amount=amount.amount)
        if not found:
            return ProviderResponse(ProviderStatus.REFUSED, "no_such_intent")
        [(status, token, captures)] = found
        if token == Token.CAPTURE_TIMEOUT_THEN_OK and captures == 1:
            raise Unavailable(what="The sandbox")
        if status == ProviderStatus.CAPTURED:
            return ProviderResponse(ProviderStatus.CAPTURED)
        return ProviderResponse(ProviderStatus.REFUSED, f"capture_refused_{status}")

    def cancel(self, *, reference: str) -> ProviderResponse:
        [(status, reason)] = _execute(_CANCEL_SQL, reference=reference)
        return _to_response(reference, status, reason)

    def refund(self, *, reference: str, amount: Money, key: str) -> ProviderResponse:
        refunded = _execute(_REFUND_SQL, reference=reference, amount=amount.amount, key=key)
        if refunded or _execute(_FIND_REFUND_SQL, key=key):
            return ProviderResponse(ProviderStatus.REFUNDED)
        return ProviderResponse(ProviderStatus.REFUSED, "nothing_to_refund")

    def approve(self, *, reference: str) -> None:
        """Approve a payment as its customer. Raises NoSuchIntent, NoActionNeeded."""
        self._decide(reference, TokenOutcome(ProviderStatus.AUTHORIZED))

    def decline(self, *, reference: str) -> None:
        """Decline a payment as its customer. Raises NoSuchIntent, NoActionNeeded."""
        self._decide(reference, TokenOutcome(ProviderStatus.DECLINED, "declined_by_customer"))

    def _decide(self, reference: str, outcome: TokenOutcome) -> None:
        status, reason = outcome
        if not _execute(_DECIDE_SQL, reference=reference, status=status, reason=reason, charges=_count_charges(status)):
            is_unknown = self.retrieve(reference=reference).status == ProviderStatus.NOT_FOUND
            raise NoSuchIntent if is_unknown else NoActionNeeded


def _count_charges(status: ProviderStatus) -> int:
    return int(status == ProviderStatus.AUTHORIZED)


def _execute(sql: str, **parameters: object) -> list[tuple[Any, ...]]:  # columns of any type
    assert_no_open_transaction("the payment provider was called")
    return fetch_rows(ALIAS, sql, parameters)


def _to_response(reference: str, status: str, reason: str) -> ProviderResponse:
    url = ""
    if status == ProviderStatus.REQUIRES_ACTION:
        url = APPROVAL_URL_TEMPLATE.format(site=settings.SITE_URL, reference=reference)
    return ProviderResponse(ProviderStatus(status), reason, url)


provider = Sandbox()
