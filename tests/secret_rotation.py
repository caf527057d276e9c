"""Change SECRET_KEY as an operator does: the former key moves to SECRET_KEY_FALLBACKS."""

from typing import Any

from ops.launch.keys import generate_secret_key


def rotate_secret(settings: Any) -> None:  # the fixture of pytest-django
    """Put a new key in front of those that the shop has."""
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    settings.SECRET_KEY = generate_secret_key()
