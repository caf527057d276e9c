"""Use cases of payments."""

from contexts.payments.interface import Payments


class LocalPayments(Payments):
    """The use cases, in this process."""
