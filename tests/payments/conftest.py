"""Providers of the tests' own, in the place of real ones."""

from collections.abc import Callable

import pytest

from contexts.payments import providers
from contexts.payments.providers import Provider
from shop.ids import uuid7


@pytest.fixture
def use() -> Callable[[Provider], str]:
    """Register a provider; returns its name. It stays, as payments that a test left open are still looked at."""

    def register(provider: Provider) -> str:
        name = f"test-{uuid7()}"
        providers.registered[name] = provider
        return name

    return register
