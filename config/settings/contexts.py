"""Configure the contexts that this process hosts, the URLs of the others, and the engine that delivers events."""

import json
from datetime import timedelta

from django.core.exceptions import ImproperlyConfigured

from config.contexts import ALL_CONTEXTS
from config.settings.credentials import CREDENTIALS
from config.settings.security import BASE_DIR, MIN_SECRET_CHARACTERS
from shop.setting_types import read_broker_url, read_internal_url, read_names
from shop.settings import env, read_number, read_setting

CONTEXTS: tuple[str, ...] = tuple(
    read_setting(
        "CONTEXTS",
        read_names,
        list(ALL_CONTEXTS),
        shown_default="all",
        description="The contexts that this process hosts, separated by commas.",
    )
)
if unknown := set(CONTEXTS) - set(ALL_CONTEXTS):
    message = (
        f"CONTEXTS contains unknown contexts: {', '.join(sorted(unknown))}. Valid contexts: {', '.join(ALL_CONTEXTS)}."
    )
    raise ImproperlyConfigured(message)
TRANSPORT = read_setting(
    "TRANSPORT",
    env.str,
    "local",
    allowed=("local", "loopback"),
    description="How contexts in one process call each other. loopback is for tests: it sends each call through the wire "
    "format, twice.",
)


def resolve_binding(context: str) -> str:
    """Return where the service of a context is: a dotted path if this process hosts it, else its URL.

    A process ignores the URL of a context that it hosts, so that all processes can have the same settings.
    """
    local = f"contexts.{context}.service.Local{context.capitalize()}"
    binding: str = read_setting(
        f"{context.upper()}_URL",
        read_internal_url,
        local,
        family="<CONTEXT>_URL",
        shown_default="",
        description="Internal address of a context that this process does not host, as in http://orders:8001.",
    )
    return local if context in CONTEXTS and "://" in binding else binding


def read_call_keys(context: str) -> dict[str, list[str]]:
    """Return the keys that sign calls from a context to any other, and to each. The first one signs, all are accepted."""
    keys: list[str] = read_setting(
        f"{context.upper()}_CALL_KEYS",
        env.list,
        [],
        family="<CONTEXT>_CALL_KEYS",
        shown_default="derived from CREDENTIAL_KEY",
        description="Keys that sign the calls of a context, 32 characters or more each, separated by commas: the first one "
        "signs, all are accepted.",
    )
    if any(len(key) < MIN_SECRET_CHARACTERS for key in keys):
        message = f"{context.upper()}_CALL_KEYS has a key shorter than {MIN_SECRET_CHARACTERS} characters"
        raise ImproperlyConfigured(message)
    return {context: keys} if keys else CREDENTIALS.build_call_keys(context, ALL_CONTEXTS)


SERVICES = {context: resolve_binding(context) for context in ALL_CONTEXTS}
CALL_KEYS = {sender: keys for context in ALL_CONTEXTS for sender, keys in read_call_keys(context).items()}
SUBSCRIPTIONS = json.loads((BASE_DIR / "config" / "subscriptions.json").read_text())
ENGINE = read_setting(
    "ENGINE",
    env.str,
    "embedded",
    allowed=("embedded", "celery", "none"),
    description="What delivers events: embedded (threads of the web processes), celery (workers with a broker), or none (this "
    "process serves requests only).",
)
BROKER_URL = read_setting(
    "BROKER_URL",
    read_broker_url,
    "",
    description="Broker of ENGINE=celery: redis://…, rediss://…, amqp://… or amqps://…",
)
# How often a worker polls for work that no message announced. At most 2, or events are late.
POLL_SECONDS = read_number("POLL_SECONDS", 1, most=3600)
# A worker that receives no message for this long restarts, if the broker is reachable.
WATCHDOG_SECONDS = read_number("WATCHDOG_SECONDS", 20, most=86_400)
MAX_PARK_HOURS = 27 * 24  # events can be replayed until day 28, so at least a day has to be left
# After this time an event that its subscriber refuses, or that no release has handled, is parked for staff.
PARK_REFUSED_EVENTS_AFTER = timedelta(hours=read_number("PARK_REFUSED_EVENTS_AFTER_HOURS", 24, most=MAX_PARK_HOURS))
