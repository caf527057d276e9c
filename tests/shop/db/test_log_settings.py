"""A server that logs statements of the shop is found at start and by /ready; errors quote no values."""

import traceback
from contextlib import contextmanager
from pathlib import Path

import pytest
import structlog
from django.core.checks import run_checks
from django.core.management import CommandError, call_command
from django.db import DatabaseError, IntegrityError, connections

from ops.database_checks import check_database_logs
from shop.db.database import fetch_rows
from shop.db.postgres.log_settings import (
    DATABASE_LOG_SETTINGS,
    ROLE_LOG_SETTINGS,
    SERVER_LOG_SETTINGS,
    find_exposing_settings,
)
from tests.concurrency import run_in_thread
from tests.readiness import read_readiness
from tests.shop.db.superuser_session import database_name, execute_as_superuser, open_superuser_session

ALIAS = "users"
EXPOSING = {
    "log_min_messages": "error", "log_error_verbosity": "default", "log_min_error_statement": "error", "log_statement": "mod",
    "log_min_duration_statement": "0", "log_min_duration_sample": "100", "log_transaction_sample_rate": "0.5",
    "log_parameter_max_length": "-1", "log_parameter_max_length_on_error": "64", "debug_print_parse": "on",
    "debug_print_rewritten": "on", "debug_print_plan": "on", "auto_explain.log_min_duration": "0", "pgaudit.log": "write",
}  # fmt: skip


@contextmanager
def role_setting(name, value):
    """Let the sessions of a role have another setting, as a database administrator would."""
    execute_as_superuser(f"ALTER ROLE {database_name(ALIAS)} SET {name} = '{value}'")
    run_in_thread(forget_sessions)
    try:
        yield
    finally:
        call_command("databases")
        run_in_thread(forget_sessions)


def forget_sessions():
    connections[ALIAS].close_pool()


def read_state():
    _, body = read_readiness()
    return body["contexts"][ALIAS]["exposing_log_settings"], body["degraded"]


def test_a_shop_whose_databases_were_prepared_exposes_nothing():
    assert check_database_logs(databases=[ALIAS, "orders"]) == []
    assert run_in_thread(read_state)[0] == []


@pytest.mark.parametrize(("name", "value"), EXPOSING.items())
def test_every_setting_that_exposes_statements_is_found(name, value):
    assert find_exposing_settings([*{**ROLE_LOG_SETTINGS, name: value}.items()]) == {name: ROLE_LOG_SETTINGS[name]}


@pytest.mark.parametrize("value", ["fatal", "panic"])
def test_a_server_that_logs_less_is_accepted(value):
    assert find_exposing_settings([*{**ROLE_LOG_SETTINGS, "log_min_messages": value}.items()]) == {}


def test_each_setting_has_an_example():
    assert set(EXPOSING) == set(ROLE_LOG_SETTINGS) > set(DATABASE_LOG_SETTINGS) > set(SERVER_LOG_SETTINGS)


@pytest.mark.parametrize(
    ("name", "value"), [("log_min_error_statement", "error"), ("log_min_messages", "warning"), ("log_statement", "all")]
)
def test_a_server_that_logs_statements_is_refused_at_start_with_what_to_set(name, value):
    with role_setting(name, value):
        [problem] = run_checks(databases=[ALIAS], tags=["database"])
        assert (problem.id, problem.is_serious()) == ("config.E012", True)
        assert f"ALTER ROLE \"{database_name(ALIAS)}\" SET {name} = '{ROLE_LOG_SETTINGS[name]}'." in problem.msg
        with pytest.raises(CommandError, match=r"config\.E012"):
            call_command("check", databases=[ALIAS])
    assert check_database_logs(databases=[ALIAS]) == [], "manage.py databases has set it again"


def test_the_operator_may_allow_it_where_the_server_cannot_be_set(settings):
    settings.ALLOW_PERSONAL_DATA_IN_DATABASE_LOG = True
    with role_setting("log_statement", "all"):
        [problem] = check_database_logs(databases=[ALIAS])
        assert (problem.id, problem.is_serious()) == ("config.W005", False)


def test_a_database_that_cannot_be_reached_is_left_out(settings):
    execute_as_superuser(f"ALTER ROLE {database_name(ALIAS)} NOLOGIN")
    try:
        assert check_database_logs(databases=[ALIAS]) == []
    finally:
        execute_as_superuser(f"ALTER ROLE {database_name(ALIAS)} LOGIN")


def test_ready_reports_a_server_whose_settings_have_changed(settings):
    with role_setting("log_error_verbosity", "default"):
        assert run_in_thread(read_state) == (["log_error_verbosity"], True)
        settings.ALLOW_PERSONAL_DATA_IN_DATABASE_LOG = True
        assert run_in_thread(read_state) == (["log_error_verbosity"], False)


def test_an_administrator_who_may_not_set_it_is_warned_and_the_databases_are_prepared():
    """An administrator of a managed server is no superuser."""
    from ops.peel.directory import keep_statements_out_of_log

    name = database_name(ALIAS)
    execute_as_superuser(f"ALTER ROLE {name} RESET log_min_messages")
    try:
        with structlog.testing.capture_logs() as logs, open_superuser_session("postgres", autocommit=True) as session:
            session.execute("CREATE ROLE managed_administrator CREATEROLE")
            session.execute("SET ROLE managed_administrator")
            keep_statements_out_of_log(session, name, name)
        assert [entry["event"] for entry in logs] == ["log_settings_not_set"]
    finally:
        execute_as_superuser("DROP ROLE managed_administrator")
        call_command("databases")


def test_compose_starts_its_server_with_the_settings(settings):
    compose = Path(settings.BASE_DIR, "docker-compose.yml").read_text()
    assert all(f"-c {name}={value}" in compose for name, value in SERVER_LOG_SETTINGS.items())


CANARY = "canary-person@example.com"
INSERT = """INSERT INTO users_user (id, email, full_name, password, is_active, permissions, sequence)
            VALUES (gen_random_uuid(), %s, 'Ada', '', true, '{}', 0)"""


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        (INSERT, 'new row for relation "users_user" violates check constraint "email_is_lower_case"'),
        ("SELECT %s::uuid", 'invalid input syntax for type uuid: "…"'),
        ("SELECT 1 FROM users_user x y %s", 'syntax error at or near "…"'),
        ("SELECT nothing, %s", 'column "nothing" does not exist'),
    ],
)
def test_an_error_of_the_database_quotes_no_value(sql, message):
    with pytest.raises(DatabaseError) as caught:
        fetch_rows(ALIAS, sql, [CANARY.upper()])
    assert str(caught.value) == message
    assert "canary-person" not in "".join(traceback.format_exception(caught.value)).lower()


def test_a_violated_constraint_is_named_without_the_key():
    try:
        fetch_rows(ALIAS, INSERT, [CANARY])
        with pytest.raises(IntegrityError) as caught:
            fetch_rows(ALIAS, INSERT, [CANARY])
    finally:
        fetch_rows(ALIAS, "DELETE FROM users_user WHERE email = %s", [CANARY])
    assert str(caught.value) == 'duplicate key value violates unique constraint "users_user_email_key"'
