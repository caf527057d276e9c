"""The settings that contexts declare."""

from collections.abc import Collection, Iterable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from django.core.exceptions import ImproperlyConfigured


def collect_context_settings(
    contexts: Iterable[str], taken: Collection[str], package: str = "contexts"
) -> dict[str, Any]:
    """Return the settings that contexts declare in their settings.py.

    Raises ImproperlyConfigured if two contexts declare the same name, or one declares a name that is already `taken`.
    """
    collected: dict[str, Any] = {}
    for context in contexts:
        module = f"{package}.{context}.settings"
        declared = vars(import_module(module)) if find_spec(module) else {}
        for name in filter(str.isupper, declared):
            if name in collected or name in taken:
                raise ImproperlyConfigured(f"{module} sets {name}, which is set elsewhere: choose another name")
            collected[name] = declared[name]
    return collected
