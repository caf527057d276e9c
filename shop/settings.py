"""Read settings from the environment. A missing or invalid value stops the start with a message that names it.

`config/settings` and `contexts/<name>/settings.py` use these readers before Django is configured.
"""

from collections.abc import Callable, Collection
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured
from environ.fileaware_mapping import FileAwareMapping

MAX_NUMBER = 10**9


class Environment(FileAwareMapping):  # type: ignore[misc]  # the library has no types
    """The environment of the process. <NAME>_FILE names a file with the value, as Docker and Kubernetes mount secrets."""

    def __contains__(self, name: object) -> bool:
        return name in self.env or f"{name}_FILE" in self.env

    def __getitem__(self, name: str) -> str:
        try:
            return str(super().__getitem__(name)).rstrip("\n")  # an editor may have added the line break
        except (OSError, UnicodeError) as error:
            raise ValueError(f"{name}_FILE: {error}") from None


environ.Env.ENVIRON = Environment()
env = environ.Env()


def read_setting(
    name: str, read: Callable[..., Any], default: Any = environ.Env.NOTSET, allowed: Collection[object] = ()
) -> Any:
    """Return one value of the environment. Raises ImproperlyConfigured if it is missing, unreadable or not allowed."""
    try:
        value = read(name, default=default)
    except ImproperlyConfigured:
        raise ImproperlyConfigured(f"{name} is not set; `make up` sets it for you, .env.example explains it") from None
    except (ValueError, TypeError) as error:
        raise ImproperlyConfigured(f"{name} cannot be read: {error}") from None
    if allowed and value not in allowed:
        raise ImproperlyConfigured(f"{name} is {value!r}; it can be {', '.join(map(str, allowed))}")
    return value


def read_positive_number(name: str, default: float, read: Callable[..., Any] = env.float) -> Any:
    """Return a number above zero. Raises ImproperlyConfigured for any other value."""
    value = read_setting(name, read, default)
    if not 0 < value < MAX_NUMBER:
        raise ImproperlyConfigured(f"{name} is {value}; it has to be above 0")
    return value


def read_number(name: str, default: float, read: Callable[..., Any] = env.float) -> Any:
    """Return zero or a number above it. Raises ImproperlyConfigured for any other value."""
    value = read_setting(name, read, default)
    if not 0 <= value < MAX_NUMBER:
        raise ImproperlyConfigured(f"{name} is {value}; it has to be 0 or above")
    return value
