"""The way to payment providers: one port, one adapter per file, each exporting it as `provider`.

An adapter answers what its provider definitely said. Whatever is no such answer (a timeout, a lost connection, 409, 429,
5xx) it raises as Unavailable. Every call leaves the shop, so it refuses to be made inside a transaction.
"""

from importlib import import_module
from typing import Literal, Protocol
from uuid import UUID

import msgspec
from django.conf import settings

from shop.money import Money

Said = Literal[
    "authorized",
    "declined",
    "requires_action",
    "captured",
    "cancelled",
    "refunded",
    "refused",
    "not_found",
    "unknown",  # never an adapter's answer: what Unavailable amounts to
]


class Answer(msgspec.Struct, frozen=True):
    """What the provider said: how the intent stands, or what came of the request."""

    status: Said
    reason: str = ""
    action_url: str = ""


class Provider(Protocol):
    """A payment provider. An intent is one attempt to take money, known by a reference that we choose."""

    def reference(self, payment_id: UUID) -> str:
        """What a payment's intent is called there: always the same, so that there is one, found without having asked."""

    def confirm(self, *, reference: str, amount: Money, token: str) -> Answer:
        """Create the intent and set the money aside. A repeat reports; a cancelled intent stays cancelled."""

    def retrieve(self, *, reference: str) -> Answer:
        """How the intent stands, exactly."""

    def capture(self, *, reference: str, amount: Money, key: str) -> Answer:
        """Take the money: `captured`, or `refused` for good."""

    def cancel(self, *, reference: str) -> Answer:
        """Give the intent up, even one that has not arrived yet. `captured` where it is too late."""

    def refund(self, *, reference: str, amount: Money, key: str) -> Answer:
        """Give money back, once per key: `refunded`, or `refused` for good."""


registered: dict[str, Provider] = {}


def find(name: str) -> Provider | None:
    """The provider of this name; None for one that the shop does not use."""
    if name not in registered and name in settings.PAYMENT_PROVIDERS:
        registered[name] = import_module(f"{__name__}.{name}").provider
    return registered.get(name)
