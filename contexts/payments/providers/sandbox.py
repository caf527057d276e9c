"""The built-in provider for development and tests. It needs no network and behaves like an external service.

It keeps its state in its own tables, commits each call as one statement, and never reads a payment. `Token` lists the
test tokens. `approve` and `decline` stand for the provider's page (3-D Secure), `move_money` for its dashboard and for the
customer's bank.
"""

from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings

from contexts.payments.interface import DisputeState
from contexts.payments.providers import FailedRefund, ProviderAmounts, ProviderResponse, ProviderStatus
from shop.db.database import PreparedStatement, fetch_rows
from shop.db.transactions import assert_no_open_transaction
from shop.errors import Conflict, NotFound, Unavailable
from shop.ids import uuid7
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
    CAPTURE_REFUSED_ONCE = "tok_capture_refused_once"  # the first capture is refused, the second one is not
    CAPTURE_TIMEOUT_THEN_OK = "tok_capture_timeout_then_ok"  # the first capture takes effect, but is Unavailable
    REFUND_REFUSED = "tok_refund_refused"


class Movement(StrEnum):
    """Something that happens to a payment at the provider without a request of the shop."""

    CAPTURE = "capture"
    REFUND = "refund"
    REFUND_FAILED = "refund_failed"  # the customer's bank returns the latest refund
    VOID = "void"
    DISPUTE = "dispute"
    DISPUTE_WON = "dispute_won"
    DISPUTE_LOST = "dispute_lost"
    ALLOW = "allow"  # the bank agrees to captures and refunds that it has refused so far


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
    Token.CAPTURE_REFUSED_ONCE: _AUTHORIZED,
    Token.REFUND_REFUSED: _AUTHORIZED,
    Token.CAPTURE_TIMEOUT_THEN_OK: _AUTHORIZED,
}
_UNKNOWN_TOKEN = TokenOutcome(ProviderStatus.DECLINED, "unknown_token")

_STATE_COLUMNS = """status, reason, charges * amount, captured, refunded + refunds_failed, disputed, dispute,
    CASE WHEN refunds_failed > 0 THEN (
        SELECT json_agg(json_build_array(made.key, made.amount)) FROM payments_sandboxrefund made
        WHERE made.reference = intent.reference AND made.has_failed) END"""

_CONFIRM_SQL = PreparedStatement(f"""
INSERT INTO payments_sandboxintent AS intent (reference, token, amount, currency, status, reason, charges)
VALUES (%(reference)s, %(token)s, %(amount)s, %(currency)s, %(status)s, %(reason)s, %(charges)s)
ON CONFLICT (reference) DO UPDATE SET confirms = intent.confirms + 1
RETURNING {_STATE_COLUMNS}""")

# The rest of a payment that was captured in part can be captured later, once per key.
_CAN_CAPTURE_SQL = """(status IN ('authorized', 'captured') AND captured + %(amount)s <= amount AND capture_key <> %(key)s
                       AND NOT (status = 'captured' AND amount = 0) AND token <> 'tok_capture_refused'
                       AND NOT (token = 'tok_capture_refused_once' AND captures = 0))"""
_CAPTURE_SQL = PreparedStatement(f"""
UPDATE payments_sandboxintent AS intent SET
    captures = captures + 1,
    captured = CASE WHEN {_CAN_CAPTURE_SQL} THEN captured + %(amount)s ELSE captured END,
    capture_key = CASE WHEN {_CAN_CAPTURE_SQL} THEN %(key)s ELSE capture_key END,
    status = CASE WHEN {_CAN_CAPTURE_SQL} THEN 'captured' ELSE status END
WHERE reference = %(reference)s RETURNING {_STATE_COLUMNS}, token, captures""")

_DESCRIBE_SQL = "SELECT status, amount, currency FROM payments_sandboxintent WHERE reference = %(reference)s"
_RETRIEVE_SQL = f"SELECT {_STATE_COLUMNS} FROM payments_sandboxintent intent WHERE reference = %(reference)s"

_CANCEL_SQL = f"""
INSERT INTO payments_sandboxintent AS intent (reference, status, confirms) VALUES (%(reference)s, 'cancelled', 0)
ON CONFLICT (reference) DO UPDATE
SET status = CASE WHEN intent.status IN ('captured', 'declined') THEN intent.status ELSE 'cancelled' END
RETURNING {_STATE_COLUMNS}"""

# Money that a dispute has taken cannot be refunded. A payment of 0 can be refunded whatever its token is.
_REFUND_SQL = """
WITH intent AS (
    SELECT reference FROM payments_sandboxintent
    WHERE reference = %(reference)s AND status = 'captured' AND refunded + disputed + %(amount)s <= captured
          AND (token <> 'tok_refund_refused' OR %(is_external)s) FOR UPDATE),
refund AS (
    INSERT INTO payments_sandboxrefund (key, reference, amount) SELECT %(key)s, reference, %(amount)s FROM intent
    ON CONFLICT (key) DO NOTHING RETURNING reference, amount)
UPDATE payments_sandboxintent taken SET refunded = refunded + refund.amount,
    moved_at = CASE WHEN %(is_external)s THEN now() ELSE moved_at END
FROM refund WHERE taken.reference = refund.reference RETURNING 1"""
_FAIL_REFUND_SQL = """
WITH refund AS (
    UPDATE payments_sandboxrefund SET has_failed = true
    WHERE key = (SELECT key FROM payments_sandboxrefund WHERE reference = %(reference)s AND NOT has_failed
                 ORDER BY made_at DESC, key DESC LIMIT 1) RETURNING reference, amount)
UPDATE payments_sandboxintent intent SET refunded = refunded - refund.amount,
    refunds_failed = refunds_failed + refund.amount, moved_at = now()
FROM refund WHERE intent.reference = refund.reference RETURNING 1"""
_FIND_REFUND_SQL = "SELECT 1 FROM payments_sandboxrefund WHERE key = %(key)s"

_DECIDE_SQL = """
UPDATE payments_sandboxintent SET status = %(status)s, reason = %(reason)s, charges = charges + %(charges)s
WHERE reference = %(reference)s AND status = 'requires_action' RETURNING 1"""

# What each movement but a refund changes, and when it is possible.
_MOVEMENTS: dict[Movement, tuple[str, str]] = {
    Movement.CAPTURE: ("status = 'captured', captured = %(amount)s", "status = 'authorized'"),
    Movement.VOID: ("status = 'cancelled'", "status = 'authorized'"),
    Movement.DISPUTE: (
        "disputed = disputed + %(amount)s, dispute = 'open'",
        "status = 'captured' AND refunded + disputed + %(amount)s <= captured",
    ),
    Movement.DISPUTE_WON: ("disputed = 0, dispute = 'won'", "dispute = 'open'"),
    Movement.DISPUTE_LOST: ("dispute = 'lost'", "dispute = 'open'"),
    Movement.ALLOW: ("token = 'tok_ok'", "starts_with(token, 'tok_capture_') OR token = 'tok_refund_refused'"),
}
_MOVE_SQL = """
UPDATE payments_sandboxintent SET {changes}, moved_at = now()
WHERE reference = %(reference)s AND ({condition}) AND %(amount)s <= amount RETURNING 1"""
_REMAINING_SQL = """
SELECT CASE WHEN status = 'captured' THEN captured - refunded - disputed ELSE amount END
FROM payments_sandboxintent WHERE reference = %(reference)s"""


class NoSuchIntent(NotFound):
    """The sandbox does not know this payment."""


class NoActionNeeded(Conflict):
    """This payment requires no action of its customer."""


class MovementImpossible(Conflict):
    """The current state of the payment does not allow this movement: {movement}."""

    movement: str


class IntentDescription(NamedTuple):
    """The facts that the sandbox's page shows of an intent. Amount in minor units."""

    status: str
    amount: int
    currency: str

    @property
    def is_waiting(self) -> bool:
        return self.status == ProviderStatus.REQUIRES_ACTION


class Sandbox:
    """A provider for development and tests, with the states of a real one."""

    def reference(self, payment_id: UUID) -> str:
        return f"sb_{payment_id.hex}"

    def confirm(self, *, reference: str, amount: Money, token: str) -> ProviderResponse:
        if token == Token.ERROR:
            assert_no_open_transaction("the payment provider was called")
            raise Unavailable(what="The sandbox")
        outcome = TOKEN_OUTCOMES.get(token, _UNKNOWN_TOKEN)
        [state] = _execute(
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
        return _to_response(reference, *state)

    def retrieve(self, *, reference: str) -> ProviderResponse:
        found = _execute(_RETRIEVE_SQL, reference=reference)
        return _to_response(reference, *found[0]) if found else ProviderResponse(ProviderStatus.NOT_FOUND)

    def capture(self, *, reference: str, amount: Money, key: str) -> ProviderResponse:
        found = _execute(_CAPTURE_SQL, reference=reference, amount=amount.amount, key=key)
        if not found:
            return ProviderResponse(ProviderStatus.REFUSED, "no_such_intent")
        [(*state, token, captures)] = found
        if token == Token.CAPTURE_TIMEOUT_THEN_OK and captures == 1:
            raise Unavailable(what="The sandbox")
        response = _to_response(reference, *state)
        if response.status == ProviderStatus.CAPTURED:
            return response
        reason = f"capture_refused_{response.status}"
        return ProviderResponse(ProviderStatus.REFUSED, reason, amounts=response.amounts)

    def cancel(self, *, reference: str) -> ProviderResponse:
        [state] = _execute(_CANCEL_SQL, reference=reference)
        return _to_response(reference, *state)

    def refund(self, *, reference: str, amount: Money, key: str) -> ProviderResponse:
        refunded = _refund(reference, amount.amount, key, is_external=False)
        if refunded or _execute(_FIND_REFUND_SQL, key=key):
            return ProviderResponse(ProviderStatus.REFUNDED)
        return ProviderResponse(ProviderStatus.REFUSED, "nothing_to_refund")

    def move_money(self, *, reference: str, movement: Movement, amount: int | None = None) -> None:
        """Move money without a request of the shop, as the provider's dashboard or the customer's bank does.

        amount: in minor units; by default all that remains. A failed refund fails as a whole.
        Raises NoSuchIntent, MovementImpossible.
        """
        remaining = _execute(_REMAINING_SQL, reference=reference)
        if not remaining:
            raise NoSuchIntent
        value = remaining[0][0] if amount is None else amount
        if movement is Movement.REFUND:
            moved = _refund(reference, value, f"dashboard-{uuid7()}", is_external=True)
        elif movement is Movement.REFUND_FAILED:
            moved = _execute(_FAIL_REFUND_SQL, reference=reference)
        else:
            changes, condition = _MOVEMENTS[movement]
            moved = _execute(_MOVE_SQL.format(changes=changes, condition=condition), reference=reference, amount=value)
        if not moved:
            raise MovementImpossible(movement=movement)

    def describe(self, *, reference: str) -> IntentDescription:
        """Return what the page shows of an intent. Raises NoSuchIntent."""
        found = _execute(_DESCRIBE_SQL, reference=reference)
        if not found:
            raise NoSuchIntent
        return IntentDescription(*found[0])

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


def _refund(reference: str, amount: int, key: str, *, is_external: bool) -> list[tuple[Any, ...]]:
    return _execute(_REFUND_SQL, reference=reference, amount=amount, key=key, is_external=is_external)


def _to_response(reference: str, status: str, reason: str, *amounts: Any) -> ProviderResponse:
    authorized, captured, refunded, disputed, dispute, failed = amounts
    url = ""
    if status == ProviderStatus.REQUIRES_ACTION:
        url = APPROVAL_URL_TEMPLATE.format(site=settings.SITE_URL, reference=reference)
    known = ProviderAmounts(
        authorized=authorized,
        captured=captured,
        refunded=refunded,
        disputed=disputed,
        dispute=DisputeState(dispute),
        failed_refunds=tuple(
            FailedRefund(key=key, amount=amount, reason="returned_by_bank") for key, amount in failed or ()
        ),
    )
    return ProviderResponse(ProviderStatus(status), reason, url, known)


provider = Sandbox()
