"""Settings of PostgreSQL that keep statements and their values out of its log: they contain personal data and hashes.

`manage.py databases` sets them for the databases and roles of the shop, since only a superuser may. Every process checks them
at start, and /ready reports those that have changed since. Standard library only, for the launcher.
"""

from collections.abc import Mapping, Sequence

# For all sessions of a server that only the shop uses.
SERVER_LOG_SETTINGS = {
    "log_error_verbosity": "terse",  # without DETAIL and CONTEXT, which quote rows and keys
    "log_min_error_statement": "panic",
    "log_statement": "none",
    "log_min_duration_statement": "-1",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
}
# For all sessions of a database, also those of administrators and of replication.
DATABASE_LOG_SETTINGS = {
    **SERVER_LOG_SETTINGS,
    "log_min_duration_sample": "-1",
    "log_transaction_sample_rate": "0",
    "debug_print_parse": "off",
    "debug_print_rewritten": "off",
    "debug_print_plan": "off",
    "auto_explain.log_min_duration": "-1",
    "pgaudit.log": "none",
}
# Also for the role of a context, which logs its errors itself, without values. PostgreSQL's messages may quote values, and in
# its formats csvlog and jsonlog an error has DETAIL whatever its verbosity. Errors of the server itself are still written.
ROLE_LOG_SETTINGS = {**DATABASE_LOG_SETTINGS, "log_min_messages": "log"}
STRICTER_VALUES = {"log_min_messages": ("fatal", "panic")}

# Settings of extensions that the server has not loaded, and of later releases, are not among the rows.
READ_LOG_SETTINGS_SQL = """
SELECT name, current_setting(name, true) FROM unnest(%s::text[]) AS name WHERE current_setting(name, true) IS NOT NULL"""


def find_exposing_settings(rows: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return the settings of a session that let its statements or values into the log, each with the value that it needs.

    rows: what READ_LOG_SETTINGS_SQL returned for the names of ROLE_LOG_SETTINGS.
    """
    return {
        name: ROLE_LOG_SETTINGS[name]
        for name, value in rows
        if value not in (ROLE_LOG_SETTINGS[name], *STRICTER_VALUES.get(name, ()))
    }


def build_log_statements(owner: str, log_settings: Mapping[str, str]) -> str:
    """Return the SQL with which a superuser sets them. owner: `ROLE "name"` or `DATABASE "name"`."""
    return "; ".join(f"ALTER {owner} SET {name} = '{value}'" for name, value in log_settings.items())
