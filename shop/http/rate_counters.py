"""Counters of rate limits in the database of the context that serves the requests: one row for each subject.

A counter of requests stores the time of each. A counter of failures stores the time of each failure, and apart from them the
attempts that are under way: they take a part of the quota too, until they have failed or succeeded.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from shop.db.database import PreparedStatement, execute, fetch_rows
from shop.db.relaxed_commits import RELAX_SQL
from shop.db.transactions import assert_no_open_transaction
from shop.http.idempotency import Key, is_stored
from shop.http.quotas import Quota

ATTEMPT_SECONDS = (
    30  # an attempt without an outcome is forgotten: it was released without a statement, or its process died
)
BUSY_WAIT_SECONDS = 1.0  # Retry-After while the attempts of others fill a quota

Quotas = Mapping[str, Quota]  # by subject: the keyed hash of a limit and of what it counts by


class Hit(NamedTuple):
    """A counted request: how many are in the period with it, what identifies it, and the seconds until the first leaves."""

    used: int
    counted_as: object
    reset_seconds: float


class Answer(NamedTuple):
    """The result of counting a request: hits if it was counted, else the seconds to wait for each quota that is used up.

    is_busy: the request was refused for attempts under way only, most of which may succeed in a moment.
    """

    hits: dict[str, Hit]
    waits: dict[str, float]
    is_busy: bool = False


def _build_current(column: str, period: str) -> str:
    return f"""
ARRAY(SELECT hit FROM unnest(counter.{column}) AS hit WHERE hit > clock_timestamp() - {period} ORDER BY hit)"""


_CURRENT_HITS = _build_current("hits", "excluded.period")
_CURRENT_ATTEMPTS = _build_current("attempts", f"interval '{ATTEMPT_SECONDS} seconds'")
_RESET_SECONDS = "extract(epoch FROM coalesce(hits[1] + period - clock_timestamp(), period))::float"

# `admitted` is empty for a repeat, whose idempotency key is stored, and if one of the quotas is visibly used up, so that a
# refused request takes none of the others for a moment. The upserts decide: first those of requests, then those of attempts if
# no request was refused. Rows are locked in this order.
COUNT = PreparedStatement(f"""
WITH given AS MATERIALIZED (
    SELECT subject, quota, make_interval(secs => seconds) AS period, is_attempt
    FROM {RELAX_SQL},
         unnest(%(subjects)s::text[], %(quotas)s::int[], %(periods)s::int[], %(are_attempts)s::bool[])
             AS item (subject, quota, seconds, is_attempt)),
admitted AS MATERIALIZED (
    SELECT * FROM given
    WHERE NOT EXISTS (SELECT FROM shop_idempotencykey WHERE scope = ANY(%(scopes)s::text[]) AND key = %(key)s)
      AND NOT EXISTS (
        SELECT FROM given AS asked JOIN shop_ratelimit AS counter USING (subject)
        WHERE cardinality({_build_current("hits", "asked.period")})
              + CASE WHEN is_attempt THEN cardinality({_CURRENT_ATTEMPTS}) ELSE 0 END >= asked.quota)),
requests AS (
    INSERT INTO shop_ratelimit AS counter (subject, hits, quota, period, expires_at)
    SELECT subject, ARRAY[clock_timestamp()], quota, period, clock_timestamp() + period
    FROM admitted WHERE NOT is_attempt ORDER BY subject
    ON CONFLICT (subject) DO UPDATE SET
        hits = {_CURRENT_HITS} || clock_timestamp(), quota = excluded.quota, period = excluded.period,
        expires_at = clock_timestamp() + excluded.period
    WHERE cardinality({_CURRENT_HITS}) < excluded.quota
    RETURNING subject, cardinality(hits), hits[cardinality(hits)], {_RESET_SECONDS}),
attempts AS (
    INSERT INTO shop_ratelimit AS counter (subject, hits, attempts, quota, period, expires_at)
    SELECT subject, '{{}}', ARRAY[clock_timestamp()], quota, period,
           clock_timestamp() + greatest(period, interval '{ATTEMPT_SECONDS} seconds')
    FROM admitted
    WHERE is_attempt AND (SELECT count(*) FROM requests) = (SELECT count(*) FROM admitted WHERE NOT is_attempt)
    ORDER BY subject
    ON CONFLICT (subject) DO UPDATE SET
        hits = {_CURRENT_HITS}, attempts = {_CURRENT_ATTEMPTS} || clock_timestamp(), quota = excluded.quota,
        period = excluded.period, expires_at = excluded.expires_at
    WHERE cardinality({_CURRENT_HITS}) + cardinality({_CURRENT_ATTEMPTS}) < excluded.quota
    RETURNING subject, cardinality(hits) + cardinality(attempts), attempts[cardinality(attempts)], {_RESET_SECONDS})
SELECT * FROM requests UNION ALL SELECT * FROM attempts""")

# Seconds until each stored request is older than the period, and the number of attempts under way.
_FIND_WAITS_SQL = f"""
SELECT subject, ARRAY(SELECT wait FROM unnest(hits) AS hit,
                                  LATERAL (SELECT seconds - extract(epoch FROM clock_timestamp() - hit)) AS of (wait)
                      WHERE wait > 0 ORDER BY wait)::float[], cardinality({_CURRENT_ATTEMPTS})
FROM unnest(%s::text[], %s::int[]) AS given (subject, seconds) JOIN shop_ratelimit AS counter USING (subject)"""

_REMOVE_SQL = f"""
UPDATE shop_ratelimit AS counter
SET hits = array_remove(counter.hits, counted.hit), attempts = array_remove(counter.attempts, counted.hit)
FROM (SELECT locked.subject, given.hit
      FROM {RELAX_SQL}, shop_ratelimit AS locked
      JOIN unnest(%s::text[], %s::timestamptz[]) WITH ORDINALITY AS given (subject, hit, place) USING (subject)
      ORDER BY place FOR UPDATE OF locked) AS counted
WHERE counter.subject = counted.subject"""

# A failure is stored even if the quota is used up, instead of the oldest one: it has happened.
_FAIL_SQL = f"""
INSERT INTO shop_ratelimit AS counter (subject, hits, attempts, quota, period, expires_at)
SELECT subject, ARRAY[clock_timestamp()], array_remove(ARRAY[attempt], NULL), quota, make_interval(secs => seconds),
       clock_timestamp() + make_interval(secs => seconds)
FROM {RELAX_SQL},
     unnest(%s::text[], %s::int[], %s::int[], %s::timestamptz[]) AS given (subject, quota, seconds, attempt)
ORDER BY subject
ON CONFLICT (subject) DO UPDATE SET
    hits = ({_CURRENT_HITS} || clock_timestamp())
           [greatest(1, cardinality({_CURRENT_HITS}) + 2 - excluded.quota):],
    attempts = array_remove(counter.attempts, excluded.attempts[1]), quota = excluded.quota, period = excluded.period,
    expires_at = greatest(counter.expires_at, excluded.expires_at)"""


def count(alias: str, requests: Quotas, attempts: Quotas, key: Key | None = None) -> Answer:
    """Count a request by every subject, or by none if one of the quotas is used up. Raises InTransaction.

    requests: quotas that every request takes. attempts: quotas of failures, which it takes while it is under way.
    key: a repeat, whose idempotency key is stored, is not counted: its answer has neither hits nor waits.
    """
    assert_no_open_transaction("a rate limit was counted")
    parameters = {
        **_build_parameters({**requests, **attempts}),
        "are_attempts": [False] * len(requests) + [True] * len(attempts),
        "scopes": list(key.fingerprints) if key else [],
        "key": key.key if key else "",
    }
    hits = {subject: Hit(*hit) for subject, *hit in fetch_rows(alias, COUNT, parameters)}
    if len(hits) == len(requests) + len(attempts):
        return Answer(hits, {})
    if key and not hits and is_stored(alias, key):
        return Answer({}, {})
    remove(alias, hits, [subject for quotas in (requests, attempts) for subject in sorted(quotas) if subject in hits])
    return _find_waits(
        alias, [subject for subject in (*requests, *attempts) if subject not in hits], requests, attempts
    )


def _build_parameters(quotas: Quotas) -> dict[str, list[object]]:
    return {
        "subjects": list(quotas),
        "quotas": [quota.limit for quota in quotas.values()],
        "periods": [quota.seconds for quota in quotas.values()],
    }


def _find_waits(alias: str, subjects: list[str], requests: Quotas, attempts: Quotas) -> Answer:
    """Return the answer for a refused request: the quotas that are used up. `subjects` were not counted."""
    quotas = {**requests, **attempts}
    rows = fetch_rows(alias, _FIND_WAITS_SQL, [subjects, [quotas[subject].seconds for subject in subjects]])
    waits, busy = {}, set()
    for subject, of_requests, under_way in rows:
        surplus = len(of_requests) - quotas[subject].limit
        if surplus >= 0:
            waits[subject] = of_requests[surplus]
        elif subject in attempts and surplus + under_way >= 0:
            waits[subject] = BUSY_WAIT_SECONDS
            busy.add(subject)
    # Without waits, the quota was free again before it was looked up.
    return Answer({}, waits or {subjects[0]: 0.0}, is_busy=busy == waits.keys())


def remove(alias: str, hits: Mapping[str, Hit], subjects: Iterable[str]) -> None:
    """Remove a counted request, or an attempt that did not fail, from these subjects, in the order in which `count` locks."""
    if taken := list(subjects):
        execute(alias, _REMOVE_SQL, [taken, [hits[subject].counted_as for subject in taken]])


def fail(alias: str, quotas: Quotas, hits: Mapping[str, Hit]) -> None:
    """Count a failure by every subject. hits: the attempts that have failed, if they are still under way."""
    parameters = _build_parameters(quotas)
    counted_as = [hits[subject].counted_as if subject in hits else None for subject in quotas]
    execute(alias, _FAIL_SQL, [*parameters.values(), counted_as])
