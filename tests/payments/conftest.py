"""Register fake payment providers."""

from collections.abc import Callable

import pytest

from contexts.payments import providers
from contexts.payments.providers import Provider
from shop.ids import uuid7


@pytest.fixture
def register_provider() -> Callable[[Provider], str]:
    """Return a function that registers a provider and returns its name.

    The provider stays registered, because the reconciler still processes payments that a test left open.
    """

    def register(provider: Provider) -> str:
        name = f"test-{uuid7()}"
        providers.registry[name] = provider
        return name

    return register
