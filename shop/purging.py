"""Delete the rows that are older than their retention, in small batches, each a transaction of its own.

One process at a time purges by a rule. A run takes a limited time, so that it does not hold up the other timers; what it
leaves is deleted by the next one. Result and backlog of each rule are in a row of `Purge`: `manage.py retention` lists them,
and /ready reports a rule that fails or that has been behind for a day.
"""

import time
from collections.abc import Iterable, Iterator
from functools import cache
from typing import NamedTuple

import psycopg
import structlog
from django.db import Error
from psycopg.errors import AdminShutdown, CannotConnectNow, CrashShutdown

from shop.db.database import OUTAGE_ERRORS, close_broken_connections, execute, fetch_rows
from shop.db.retention import DeletedWith, DeletedWithLast, Rule, get_retention, list_models, list_rules
from shop.models import Purge

RUN_SECONDS = 2.0  # for one rule
RUN_INTERVAL_SECONDS = 60.0
MAX_ERROR_LENGTH = 500

log = structlog.get_logger(__name__)


class Result(NamedTuple):
    """The result of a run: the number of deleted rows, and whether its time limit ended it."""

    deleted: int
    has_more: bool


def purge_due(context: str) -> None:
    """Delete old rows by each rule that no process has used within the last minute. A timer of the engine calls it.

    An error of one rule is logged and recorded, and the next rule is used. Raises OUTAGE_ERRORS if the server is unavailable.
    """
    for rule in list_rules(context):
        if _claim_run(context, rule, RUN_INTERVAL_SECONDS * 0.9):
            _run(context, rule)


def purge_now(context: str, rules: Iterable[Rule] | None = None) -> int:
    """Delete old rows by these rules, by default by all of the context, until none is left or a rule fails.

    Returns the number of deleted rows, without those of dependent tables. Errors are handled as by `purge_due`.
    """
    deleted = 0
    for rule in list_rules(context) if rules is None else rules:
        _claim_run(context, rule, 0)
        has_more = True
        while has_more:
            result = _run(context, rule)
            deleted, has_more = deleted + result.deleted, result.has_more
    return deleted


def count_expired(context: str, rule: Rule, limit: int = 100_000) -> int:
    """Return how many rows are older than their retention, at most `limit`."""
    table = rule.model._meta.db_table
    sql = f"""SELECT count(*) FROM (SELECT FROM {table} old WHERE {rule.policy.since} < now() - %s
                                    AND ({rule.policy.condition}) LIMIT %s) AS expired"""
    [(found,)] = fetch_rows(context, sql, [rule.policy.get_period(), limit])
    return int(found)


def _run(context: str, rule: Rule) -> Result:
    try:
        result = _delete_expired(context, rule, RUN_SECONDS)
    except Error as error:
        if _is_outage(error):
            raise
        close_broken_connections()
        log.error("purge_failed", context=context, rule=rule.name, error=str(error))
        execute(context, _FAILURE_SQL, [str(error)[:MAX_ERROR_LENGTH], rule.name])
        return Result(0, has_more=False)
    execute(context, _SUCCESS_SQL, [result.deleted, result.has_more, rule.name])
    if result.deleted:
        log.info("old_rows_purged", context=context, rule=rule.name, rows=result.deleted, has_more=result.has_more)
    return result


def _is_outage(error: Error) -> bool:
    """Return whether server or connection are unavailable. A statement or a lock that timed out is an error of the purge."""
    cause = error.__cause__
    if isinstance(cause, AdminShutdown | CrashShutdown | CannotConnectNow):
        return True
    return isinstance(error, OUTAGE_ERRORS) and not (isinstance(cause, psycopg.Error) and cause.sqlstate)


def _delete_expired(alias: str, rule: Rule, seconds: float) -> Result:
    """Delete batches until none is left, or until the time is over."""
    stop_at, deleted = time.monotonic() + seconds, 0
    for count in delete_batches(alias, rule):
        deleted += count
        if time.monotonic() >= stop_at:
            return Result(deleted, has_more=True)
    return Result(deleted, has_more=False)


def delete_batches(alias: str, rule: Rule) -> Iterator[int]:
    """Delete old rows batch by batch, each in a transaction of its own, and yield the number of rows of each."""
    return _delete_by_age(alias, rule) if rule.policy.is_indexed else _delete_by_key(alias, rule)


def _delete_by_age(alias: str, rule: Rule) -> Iterator[int]:
    """Delete the oldest rows first. Each batch starts where the last one ended, and skips the rows it has deleted."""
    start = "-infinity"
    while True:
        limit = rule.policy.batch_rows
        parameters = {"period": rule.policy.get_period(), "start": start, "limit": limit}
        [(count, last)] = fetch_rows(alias, _build_age_sql(rule), parameters)
        if count < limit:
            yield count
            return
        start = last
        yield count


def _delete_by_key(alias: str, rule: Rule) -> Iterator[int]:
    """Read the table page by page in the order of its primary key, and delete the old rows of each page."""
    start = ""
    while start is not None:
        parameters = {"period": rule.policy.get_period(), "start": start, "limit": rule.policy.batch_rows}
        [(count, start)] = fetch_rows(alias, _build_key_sql(rule), parameters)
        yield count


# SKIP LOCKED: another process deletes the row, or a request is changing it, so that it may not be old any more.
@cache
def _build_age_sql(rule: Rule) -> str:
    table, key, since = rule.model._meta.db_table, rule.model._meta.pk.column, rule.policy.since
    return f"""
WITH expired AS (
  SELECT {key} AS key, {since} AS since FROM {table} old
  WHERE {since} < now() - %(period)s AND {since} >= %(start)s::timestamptz AND ({rule.policy.condition})
  ORDER BY {since} LIMIT %(limit)s FOR UPDATE OF old SKIP LOCKED)
{_build_dependent_deletes(rule)}
SELECT (SELECT count(*) FROM deleted), (SELECT max(since)::text FROM expired)"""


@cache
def _build_key_sql(rule: Rule) -> str:
    table, key, since = rule.model._meta.db_table, rule.model._meta.pk.column, rule.policy.since
    return f"""
WITH page AS MATERIALIZED (SELECT {key} AS key FROM {table} WHERE {key} > %(start)s ORDER BY {key} LIMIT %(limit)s),
expired AS (
  SELECT {key} AS key FROM {table} old
  WHERE {key} IN (SELECT key FROM page) AND {since} < now() - %(period)s AND ({rule.policy.condition})
  FOR UPDATE OF old SKIP LOCKED)
{_build_dependent_deletes(rule)}
SELECT (SELECT count(*) FROM deleted), (SELECT max(key) FROM page)"""


def _build_dependent_deletes(rule: Rule) -> str:
    """Return the statements of the WITH list that delete the rows `expired`, and what goes with them."""
    table, key = rule.model._meta.db_table, rule.model._meta.pk.column
    statements = [
        f", deleted AS (DELETE FROM {table} USING expired WHERE {table}.{key} = expired.key RETURNING {table}.*)"
    ]
    if rule.policy.with_keys:
        statements.append(", keys AS (DELETE FROM shop_idempotencykey USING expired WHERE resource = expired.key)")
    for number, other in enumerate(list_models(rule.model._meta.app_label)):
        name, other_key = other._meta.db_table, other._meta.pk.column
        for policy in get_retention(other):
            if isinstance(policy, DeletedWith) and policy.table == table:
                statements.append(
                    f", with{number} AS (DELETE FROM {name} USING expired WHERE {name}.{policy.by} = expired.key)"
                )
            if isinstance(policy, DeletedWithLast) and policy.table == table:
                statements.append(f""", last{number} AS (
  DELETE FROM {name} WHERE {other_key} IN (SELECT {policy.by} FROM deleted) AND NOT EXISTS (
    SELECT FROM {table} rest WHERE rest.{policy.by} = {name}.{other_key} AND rest.{key} NOT IN (SELECT key FROM expired)))""")
    return "\n".join(statements)


_CLAIM_SQL = """
INSERT INTO shop_purge AS run (rule, started_at) VALUES (%s, now())
ON CONFLICT (rule) DO UPDATE SET started_at = now() WHERE run.started_at < now() - %s * interval '1 second'"""
_SUCCESS_SQL = """
UPDATE shop_purge SET finished_at = now(), deleted = deleted + %s, failures = 0, error = '',
    behind_since = CASE WHEN %s THEN coalesce(behind_since, now()) END
WHERE rule = %s"""
_FAILURE_SQL = "UPDATE shop_purge SET failures = failures + 1, failed_at = now(), error = %s WHERE rule = %s"
_FIND_PROBLEMS_SQL = """
SELECT rule, failures > 0 FROM shop_purge
WHERE failures > 0 OR behind_since < now() - interval '1 day' ORDER BY rule"""


def _claim_run(context: str, rule: Rule, interval: float) -> bool:
    """Return whether this process may run the rule now: none has within these seconds."""
    return bool(execute(context, _CLAIM_SQL, [rule.name, interval]))


def get_result(context: str, rule: Rule) -> Purge:
    """Return the recorded result of a rule; an unsaved one if it has never run."""
    return Purge.objects.using(context).filter(rule=rule.name).first() or Purge(rule=rule.name)


class Problems(NamedTuple):
    """The rules whose last run failed, and those that have left rows for more than a day."""

    failing: list[str]
    behind: list[str]


def find_problems(context: str) -> Problems:
    """Find the rules of a context that do not delete what they should."""
    rows = fetch_rows(context, _FIND_PROBLEMS_SQL)
    return Problems(
        [rule for rule, is_failing in rows if is_failing], [rule for rule, is_failing in rows if not is_failing]
    )
