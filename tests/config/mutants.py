"""Bugs that the tests of this folder catch: `make mutants`."""

from tests.mutants.planted import Mutant

MUTANTS = (
    Mutant(
        name="production_sells_by_sandbox",
        what="a shop on https starts with the sandbox, which takes no money",
        rule="docs/deploy.md: sandbox is refused in production unless ALLOW_SANDBOX_PAYMENTS=true",
        module="config.checks",
        replace='if settings.HTTPS and "sandbox" in settings.PAYMENT_PROVIDERS and',
        by='if settings.HTTPS and settings.PAYMENT_PROVIDERS == ("sandbox",) and',
        caught_by="tests/config/test_settings.py::test_the_sandbox_is_refused_in_production",
    ),
    Mutant(
        name="https_in_capitals_is_no_https",
        what="HTTPS://SHOP.EXAMPLE does not count as https, so the shop starts without its protections",
        rule="docs/deploy.md: sandbox is refused in production",
        module="config.settings.security",
        replace='return parts._replace(netloc=parts.netloc.lower()).geturl().rstrip("/")',
        by='return value.rstrip("/")',
        caught_by="tests/config/test_settings.py::test_the_sandbox_is_refused_in_production",
    ),
    Mutant(
        name="server_ignores_a_wrong_configuration",
        what="a web server that is started without manage.py serves with a configuration that the checks refuse",
        rule="a process with a wrong configuration does not serve",
        module="config.wsgi",
        replace="refuse_wrong_configuration()\nserver",
        by="server",
        caught_by="tests/config/test_settings.py::test_no_process_starts_with_the_sandbox_in_production",
    ),
    Mutant(
        name="storefront_cannot_read_errors",
        what="errors of the middleware have no CORS headers, so that a browser hides them from the storefront",
        rule="docs/deploy.md: browsers on the origins of CORS_ALLOWED_ORIGINS can call the API",
        module="config.settings.framework",
        replace='    "shop.http.middleware.IncompleteBodyMiddleware",\n    "shop.http.proxies.TrustedProxies",\n',
        by="",
        caught_by="tests/config/test_cors.py::test_a_body_that_was_not_received_is_an_error_that_the_storefront_can_read",
    ),
    Mutant(
        name="cors_accepts_inexact_origins",
        what="origins that no browser sends, such as https://*.shop.example, are accepted and never match",
        rule="docs/deploy.md: origins are exact",
        module="config.settings.security",
        replace="if origin != _build_origin(origin):",
        by="if not origin:",
        caught_by="tests/config/test_cors.py::test_what_is_no_exact_origin_is_refused_at_start",
    ),
    Mutant(
        name="settings_follow_references",
        what="a password that begins with $ is taken for a reference to another variable",
        rule="values are read literally",
        module="shop.settings",
        replace='        if default is None and value == "":',
        by='        if value.startswith("$"):\n            return default\n        if default is None and value == "":',
        caught_by="tests/config/test_settings.py::test_a_password_is_read_literally",
    ),
    Mutant(
        name="settings_guess_booleans",
        what="a misspelt true counts as false",
        rule="values are read literally or refused",
        module="shop.settings",
        replace="""\
    if text.lower() not in BOOLEANS:
        raise ValueError(f"{text!r} is neither true nor false")
    return BOOLEANS[text.lower()]""",
        by="    return BOOLEANS.get(text.lower(), False)",
        caught_by="tests/config/test_settings.py::test_an_invalid_value_stops_the_start_with_a_message",
    ),
    Mutant(
        name="settings_keep_trailing_blanks",
        what="a blank at the end of a password becomes a part of it",
        rule="values are read literally or refused",
        module="shop.settings",
        replace="if value != value.strip():",
        by="if value and not value.strip():",
        caught_by="tests/config/test_settings.py::test_an_invalid_value_stops_the_start_with_a_message",
    ),
    Mutant(
        name="misspelt_settings_are_ignored",
        what="there is no warning that CURENCY has no effect",
        rule="check_variable_names",
        module="config.setting_names",
        replace="if similar or is_ours:",
        by="if similar and not is_ours and not name:",
        caught_by="tests/config/test_settings.py::test_misspelt_names_are_warned_of_with_the_probable_one",
    ),
    Mutant(
        name="hsts_binds_all_subdomains",
        what="a shop on https makes browsers use only https for all subdomains of its host",
        rule="includeSubDomains is a choice, off by default",
        module="config.settings.security",
        replace='read_setting("SECURE_HSTS_INCLUDE_SUBDOMAINS", env.bool, False)',
        by='read_setting("SECURE_HSTS_INCLUDE_SUBDOMAINS", env.bool, True)',
        caught_by="tests/config/test_settings.py::test_hsts_covers_only_the_host_unless_the_operator_chooses_more",
    ),
)
