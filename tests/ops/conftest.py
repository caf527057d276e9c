"""Share the fixtures of the kernel's tests: commands and checks are tested with their small test contexts."""

from tests.shop.conftest import letter, library

__all__ = ["letter", "library"]
