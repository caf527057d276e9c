"""Checks at start. A process with a wrong configuration does not serve; the message names what to change."""

import os
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth.hashers import get_hashers
from django.core import mail
from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ImproperlyConfigured

from shop.calls import services
from shop.chaos import faults
from shop.db.database import hosted_contexts
from shop.messaging import events
from shop.messaging.celery.checks import check_broker_url, check_conflicting_broker_variables
from shop.process_variables import PROCESS_VARIABLES
from shop.setting_names import find_misspelt_names
from shop.settings import find_known_names


@register()
def check_bindings(**_: Any) -> list[Error]:
    """Check that every interface has an implementation that defines all of its methods itself."""
    try:
        services.bind_all()
    except (TypeError, ValueError, KeyError, ImportError, AttributeError) as error:
        return [Error(f"A service binding is not usable: {error}", id="config.E001")]
    return []


@register()
def check_needless_keys(**_: Any) -> list[CheckMessage]:
    """Warn of a key that can sign any token, or from which all credentials follow, in a process that needs less."""
    signing = "JWT_SIGNING_KEY is set, but this process does not host users: give it JWT_PUBLIC_KEYS instead"
    root = "CREDENTIAL_KEY is set, but this process has <CONTEXT>_SECRETS: do not give it the key of all credentials"
    found = ((settings.HAS_NEEDLESS_SIGNING_KEY, "W003", signing), (settings.HAS_NEEDLESS_CREDENTIAL_KEY, "W004", root))
    return [Warning(message, id=f"config.{number}") for is_needless, number, message in found if is_needless]


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
def check_tls_proxy(**_: Any) -> list[Error]:
    """Check that a site with https trusts a proxy: the server speaks http, and only the proxy reports https."""
    if settings.HTTPS and not settings.TRUSTED_PROXIES:
        message = (
            "SITE_URL is https, but TRUSTED_PROXIES is empty: set it to the address of the proxy that terminates TLS"
        )
        return [Error(message, id="config.E004")]
    return []


@register()
def check_sandbox_payments(**_: Any) -> list[Error]:
    """Refuse the sandbox in production, where it would give goods away: `tok_ok` counts as paid."""
    if settings.HTTPS and "sandbox" in settings.PAYMENT_PROVIDERS and not settings.ALLOW_SANDBOX_PAYMENTS:
        message = (
            "SITE_URL is https, and PAYMENT_PROVIDERS contains sandbox, which confirms orders without money: remove it, or set "
            "ALLOW_SANDBOX_PAYMENTS=true for a demonstration"
        )
        return [Error(message, id="config.E009")]
    return []


@register()
def check_named_classes(**_: Any) -> list[Error]:
    """Check that the classes that settings name exist and can be used: at start, not at the first e-mail or sign-in."""
    users_of_classes = (
        ("EMAIL_BACKEND", "notifications", mail.get_connection),
        ("PASSWORD_HASHERS", "users", get_hashers),
    )
    return [
        Error(f"{name} is not usable: {problem}", id="config.E011")
        for name, context, use in users_of_classes
        if context in hosted_contexts() and (problem := _find_problem(use))
    ]


def _find_problem(use: Callable[[], object]) -> str:
    try:
        use()
    except (ImproperlyConfigured, ImportError, AttributeError, TypeError, ValueError) as error:
        return str(error)
    return ""


@register()
def check_variable_names(**_: Any) -> list[CheckMessage]:
    """Warn of variables that nothing reads, but whose names are close to those of settings."""
    known = {*find_known_names(), *PROCESS_VARIABLES}
    return [
        Warning(
            f"{name} is set, but there is no such setting"
            + (f": did you mean {suggestion}?" if suggestion else "; docs/settings.md lists all"),
            id="config.W001",
        )
        for name, suggestion in find_misspelt_names(os.environ, known)
    ]


@register()
def check_faults_on_test_databases(**_: Any) -> list[Error]:
    """Refuse injected faults outside test databases."""
    if (settings.CHAOS or settings.CHAOS_RECORD) and not faults.has_only_test_databases():
        return [Error(faults.TEST_DATABASES_ONLY, id="config.E005")]
    return []


CHECKS_AT_START = (
    check_bindings, check_absent_context_addresses, check_broker_url, check_conflicting_broker_variables, check_tls_proxy,
    check_sandbox_payments, check_named_classes, check_faults_on_test_databases,
)  # fmt: skip


def refuse_wrong_configuration() -> None:
    """Raise ImproperlyConfigured if a check fails. For processes that are started without a command of Django."""
    if problems := [problem.msg for check in CHECKS_AT_START for problem in check()]:
        raise ImproperlyConfigured("; ".join(problems))
