"""The kernel's fixtures serve here too: commands and checks are tried on letters and on the library."""

from tests.shop.conftest import letter, library

__all__ = ["letter", "library"]
