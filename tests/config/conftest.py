"""Fixtures of the kernel's tests: commands and checks are tested with the library context."""

from tests.shop.conftest import library

__all__ = ["library"]
