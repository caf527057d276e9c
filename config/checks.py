"""Checks at start. A process with a wrong configuration does not serve; the message names what to change."""

import os
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import Error, Tags, register
from django.db import connections

from shop.calls import services
from shop.chaos import faults
from shop.db.database import fetch_rows, hosted_contexts
from shop.messaging import events


@register()
def check_bindings(**_: Any) -> list[Error]:
    """Check that every interface has an implementation that defines all of its methods itself."""
    try:
        services.bind_all()
    except (TypeError, ValueError, KeyError, ImportError, AttributeError) as error:
        return [Error(f"A service binding is not usable: {error}", id="config.E001")]
    return []


@register()
def check_absent_context_addresses(**_: Any) -> list[Error]:
    """Check that the address of every context that this process does not host is known."""
    message = "CONTEXTS leaves out {0}: set {1}_URL to the address of the process that hosts it"
    return [
        Error(message.format(context, context.upper()), id="config.E006")
        for context in settings.SERVICES
        if context not in hosted_contexts() and not services.get_remote_url(context)
    ]


@register()
def check_subscriptions(**_: Any) -> list[Error]:
    """Check that config/subscriptions.json, which publishers read, matches the handlers. Skipped unless all are hosted."""
    if set(hosted_contexts()) == set(settings.SERVICES) and events.build_subscriptions() != settings.SUBSCRIPTIONS:
        message = "config/subscriptions.json does not match the handlers: run `manage.py subscriptions`"
        return [Error(message, id="config.E002")]
    return []


@register()
def check_broker_url(**_: Any) -> list[Error]:
    """Check that the Celery engine has the address of its broker."""
    if settings.ENGINE == "celery" and not settings.BROKER_URL:
        message = "ENGINE is celery: set BROKER_URL to the address of Redis, Valkey or RabbitMQ (redis://… or amqp://…)"
        return [Error(message, id="config.E007")]
    return []


@register()
def check_conflicting_broker_variables(**_: Any) -> list[Error]:
    """Refuse variables that Celery prefers to the settings of the shop."""
    if settings.ENGINE != "celery":
        return []
    return [
        Error(f"{name} is set, and Celery would use it instead of BROKER_URL: unset it", id="config.E008")
        for name in ("CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL")
        if os.environ.get(name)
    ]


@register()
def check_tls_proxy(**_: Any) -> list[Error]:
    """Check that a site with https trusts a proxy: the server speaks http, and only the proxy reports https."""
    if settings.HTTPS and not settings.TRUSTED_PROXIES:
        message = "SITE_URL is https, but TRUSTED_PROXIES is empty: it has to name the proxy that ends TLS"
        return [Error(message, id="config.E004")]
    return []


@register()
def check_faults_on_test_databases(**_: Any) -> list[Error]:
    """Refuse injected faults outside test databases."""
    if (settings.CHAOS or settings.CHAOS_RECORD) and not faults.has_only_test_databases():
        return [Error(faults.TEST_DATABASES_ONLY, id="config.E005")]
    return []


@register(Tags.database)
def check_separate_databases(databases: Sequence[str] | None = None, **_: Any) -> list[Error]:
    """Check that no two contexts share a database: their tables could be joined, and no context could move."""
    found: dict[tuple[str, str], str] = {}
    problems = []
    for alias in databases or ():
        if alias not in hosted_contexts():
            continue
        [(server, name)] = fetch_rows(
            alias, "SELECT system_identifier::text, current_database() FROM pg_control_system()"
        )
        identity = (server, name)
        if identity in found:
            message = f"{alias} and {found[identity]} are on one database ({name}): give each context its own"
            problems.append(Error(message, id="config.E003"))
        found[identity] = alias
        connections[alias].close()
    return problems
