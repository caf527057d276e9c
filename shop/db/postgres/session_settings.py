"""The settings of a session: time limits and planner options."""

# Limits for how long one session can block others.
TIMEOUTS = {"lock_timeout": "5s", "statement_timeout": "15s"}
# A prepared statement is planned once, for all parameters. Every one of ours uses an index, so the plan has to as well,
# even if it is made while the tables of a new shop are empty: it stays in use while they grow.
# Without sequential scans an older server would rate such plans so expensive that it compiles them.
PLANNER_OPTIONS = {"plan_cache_mode": "force_generic_plan", "enable_seqscan": "off", "jit": "off"}


def build_session_settings(idle_transaction_seconds: int) -> dict[str, str]:
    """Return the settings of each session, as the server shows them: one that does not keep them is refused."""
    idle_timeout = {"idle_in_transaction_session_timeout": format_duration(idle_transaction_seconds)}
    return TIMEOUTS | idle_timeout | PLANNER_OPTIONS


def format_duration(seconds: int) -> str:
    """Format a duration in the largest unit that leaves a whole number, as PostgreSQL does: 90s, 1min, 1h."""
    unit_seconds, unit = next(pair for pair in ((3600, "h"), (60, "min"), (1, "s")) if seconds % pair[0] == 0)
    return f"{seconds // unit_seconds}{unit}"
