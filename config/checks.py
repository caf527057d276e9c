"""What must be right before a process serves: refused at start, with a sentence that says what to change."""

import os
from typing import Any

from django.conf import settings
from django.core.checks import Error, Tags, register
from django.db import connections

from config import faults
from shop import events, services
from shop.database import hosted, rows


@register()
def bindings_are_complete(**_: Any) -> list[Error]:
    """Every interface has an implementation that defines every method itself."""
    try:
        services.bind_all()
    except (TypeError, ValueError, KeyError, ImportError, AttributeError) as error:
        return [Error(f"A service binding is not usable: {error}", id="config.E001")]
    return []


@register()
def absent_contexts_have_addresses(**_: Any) -> list[Error]:
    """Who does not host a context knows who does."""
    return [
        Error(f"CONTEXTS leaves out {context}; {context.upper()}_URL has to say where it answers", id="config.E006")
        for context in settings.SERVICES if context not in hosted() and not services.address(context)
    ]  # fmt: skip


@register()
def subscriptions_are_current(**_: Any) -> list[Error]:
    """The file that publishers read says what the handlers say."""
    if set(hosted()) == set(settings.SERVICES) and events.subscriptions() != settings.SUBSCRIPTIONS:
        said = "config/subscriptions.json is not what the handlers say: run `manage.py subscriptions`"
        return [Error(said, id="config.E002")]
    return []


@register()
def celery_has_a_broker(**_: Any) -> list[Error]:
    """Who rings the bell knows where."""
    if settings.ENGINE == "celery" and not settings.BROKER_URL:
        said = "ENGINE is celery; BROKER_URL has to say where Redis, Valkey or RabbitMQ listens (redis://… or amqp://…)"
        return [Error(said, id="config.E007")]
    return []


@register()
def celery_has_one_broker(**_: Any) -> list[Error]:
    """Celery reads these before it looks at what our settings say."""
    if settings.ENGINE != "celery":
        return []
    return [
        Error(f"{name} is set, and Celery would go there instead of to BROKER_URL: unset it", id="config.E008")
        for name in ("CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL") if os.environ.get(name)
    ]  # fmt: skip


@register()
def somebody_ends_tls(**_: Any) -> list[Error]:
    """Our server speaks http: whether a request came by https is what a trusted proxy says."""
    if settings.HTTPS and not settings.TRUSTED_PROXIES:
        said = "SITE_URL is https, but TRUSTED_PROXIES names no proxy that ends TLS: every request would be redirected for ever"
        return [Error(said, id="config.E004")]
    return []


@register()
def faults_hit_test_databases_only(**_: Any) -> list[Error]:
    """Nobody kills a shop that sells."""
    if (settings.CHAOS or settings.CHAOS_RECORD) and not faults.only_test_databases():
        return [Error(faults.REFUSED, id="config.E005")]
    return []


@register(Tags.database)
def one_database_each(databases: Any = None, **_: Any) -> list[Error]:
    """No two contexts share a database: then a join could creep in, and no context could leave."""
    found: dict[tuple, str] = {}
    problems = []
    for alias in databases or ():
        if alias not in hosted():
            continue
        [identity] = rows(alias, "SELECT system_identifier::text, current_database() FROM pg_control_system()")
        if identity in found:
            problems.append(Error(f"{alias} and {found[identity]} are on one database ({identity[1]})", id="config.E003"))
        found[identity] = alias
        connections[alias].close()
    return problems
