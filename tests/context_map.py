"""The context map of .importlinter, which is the only list of the contexts by name."""

import configparser

from django.conf import settings


def list_layers() -> list[tuple[str, ...]]:
    """Return the layers of the context map from top to bottom. A context calls those in the layers below its own."""
    rules = configparser.ConfigParser()
    rules.read(settings.BASE_DIR / ".importlinter")
    layers = rules["importlinter:contract:context-map"]["layers"].split("\n")
    return [tuple(name.strip() for name in layer.split("|")) for layer in layers if layer.strip()]


def list_callers_first() -> list[str]:
    """Return all contexts, each before those that it calls."""
    return [context for layer in list_layers() for context in layer]


def list_callees_first() -> list[str]:
    """Return all contexts, each after those that it calls."""
    return [context for layer in reversed(list_layers()) for context in layer]
