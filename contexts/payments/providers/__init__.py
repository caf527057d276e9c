"""Payment providers: one port, and one adapter per file, which exports its instance as `provider`.

An adapter returns what its provider definitely answered. Anything else (a timeout, a lost connection, 409, 429, 5xx) it
raises as Unavailable. Every call leaves the shop, so it raises InTransaction inside a database transaction.
"""

from enum import StrEnum
from importlib import import_module
from typing import Protocol, cast
from uuid import UUID

import msgspec
from django.conf import settings

from contexts.payments.interface import DisputeState
from shop.money import Money


class ProviderStatus(StrEnum):
    """The state of a payment intent at its provider, or the result of a capture or refund."""

    AUTHORIZED = "authorized"
    DECLINED = "declined"
    REQUIRES_ACTION = "requires_action"
    CAPTURED = "captured"
    CANCELLED = "cancelled"
    REFUNDED = "refunded"
    REFUSED = "refused"
    NOT_FOUND = "not_found"
    UNKNOWN = "unknown"  # never returned by an adapter: it stands for Unavailable


class FailedRefund(msgspec.Struct, frozen=True, kw_only=True):
    """A refund that the provider made, and whose money came back later, because the customer's bank did not take it.

    key: of the request that made it; any other text if the shop did not request it. amount: in minor units.
    """

    key: str
    amount: int
    reason: str = ""


class ProviderAmounts(msgspec.Struct, frozen=True, kw_only=True):
    """Amounts that the provider has moved for a payment so far, in minor units, also without a request of the shop.

    captured and refunded only grow: a refund that failed later stays in `refunded`, and is listed in `failed_refunds`.
    disputed is what a dispute has taken from the shop, and falls when it is won.
    """

    authorized: int
    captured: int
    refunded: int
    disputed: int = 0
    dispute: DisputeState = DisputeState.NONE
    failed_refunds: tuple[FailedRefund, ...] = ()


class ProviderResponse(msgspec.Struct, frozen=True):
    """A definite response of a provider.

    amounts: the amounts after the call, where the provider reports them with it.
    """

    status: ProviderStatus
    reason: str = ""
    action_url: str = ""
    amounts: ProviderAmounts | None = None


class Provider(Protocol):
    """A payment provider. An intent is one attempt to take money; its reference is chosen by the shop."""

    def reference(self, payment_id: UUID) -> str:
        """Return the reference of a payment's intent.

        It follows from the payment id, so that a payment has one intent, which can be retrieved without a prior response.
        """

    def confirm(self, *, reference: str, amount: Money, token: str) -> ProviderResponse:
        """Create the intent and authorize the amount. A repeat reports the state; a cancelled intent stays cancelled."""

    def retrieve(self, *, reference: str) -> ProviderResponse:
        """Return the exact state of the intent, with its amounts."""

    def capture(self, *, reference: str, amount: Money, key: str) -> ProviderResponse:
        """Capture the amount, once per key. The result is `captured`, or `refused` if it is definitely impossible.

        The rest of a payment of which a part was captured can be captured with another key, if the provider allows it.
        """

    def cancel(self, *, reference: str) -> ProviderResponse:
        """Cancel the intent, also one that has not arrived yet. The result is `captured` if it is too late."""

    def refund(self, *, reference: str, amount: Money, key: str) -> ProviderResponse:
        """Refund the amount, once per key. The result is `refunded`, or `refused` if it is definitely impossible."""


registry: dict[str, Provider] = {}


def find(name: str) -> Provider | None:
    """Return the provider of this name. None if the shop does not use it."""
    if name not in registry and name in settings.PAYMENT_PROVIDERS:
        registry[name] = cast(Provider, import_module(f"{__name__}.{name}").provider)
    return registry.get(name)
