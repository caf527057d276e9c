"""Counters of rate limits in the database of the context that serves the requests: one row for each subject."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from shop.db.database import PreparedStatement, execute, fetch_rows
from shop.db.transactions import assert_no_open_transaction
from shop.http.quotas import Quota

Quotas = Mapping[str, Quota]  # by subject: the keyed hash of a limit and of what it counts by


class Hit(NamedTuple):
    """A counted request: how many are in the period with it, what identifies it, and the seconds until the first leaves."""

    used: int
    counted_as: object
    reset_seconds: float


class Answer(NamedTuple):
    """The result of counting a request: hits if it was counted, else the seconds to wait for each quota that is used up."""

    hits: dict[str, Hit]
    waits: dict[str, float]


# Without waiting for the disk: set for the transaction of this statement only, which is its own.
_ASYNC_COMMIT = "set_config('synchronous_commit', 'off', true)"
_CURRENT_HITS = """
ARRAY(SELECT hit FROM unnest(counter.hits) AS hit WHERE hit > clock_timestamp() - excluded.period ORDER BY hit)"""

COUNT = PreparedStatement(f"""
INSERT INTO shop_ratelimit AS counter (subject, hits, quota, period, expires_at)
SELECT asked.subject, ARRAY[clock_timestamp()], asked.quota, asked.period, clock_timestamp() + asked.period
FROM {_ASYNC_COMMIT},
     unnest(%(subjects)s::text[], %(quotas)s::int[], %(periods)s::int[]) AS given (subject, quota, seconds),
     LATERAL (SELECT given.subject, given.quota, make_interval(secs => given.seconds) AS period) AS asked
ORDER BY asked.subject
ON CONFLICT (subject) DO UPDATE SET
    hits = {_CURRENT_HITS} || clock_timestamp(), quota = excluded.quota, period = excluded.period,
    expires_at = clock_timestamp() + excluded.period
WHERE cardinality({_CURRENT_HITS}) < excluded.quota
RETURNING subject, cardinality(hits), hits[cardinality(hits)],
          extract(epoch FROM hits[1] + period - clock_timestamp())::float""")

# Seconds until each stored request is older than the period.
_FIND_WAITS_SQL = """
SELECT subject, ARRAY(SELECT wait FROM unnest(hits) AS hit,
                                  LATERAL (SELECT seconds - extract(epoch FROM clock_timestamp() - hit)) AS of (wait)
                      WHERE wait > 0 ORDER BY wait)::float[]
FROM unnest(%s::text[], %s::int[]) AS given (subject, seconds) JOIN shop_ratelimit USING (subject)"""

_REMOVE_SQL = f"""
UPDATE shop_ratelimit AS counter SET hits = array_remove(counter.hits, counted.hit)
FROM (SELECT locked.subject, given.hit
      FROM {_ASYNC_COMMIT}, shop_ratelimit AS locked
      JOIN unnest(%s::text[], %s::timestamptz[]) AS given (subject, hit) USING (subject)
      ORDER BY locked.subject FOR UPDATE OF locked) AS counted
WHERE counter.subject = counted.subject"""


def count(alias: str, quotas: Quotas) -> Answer:
    """Count a request by every subject, or by none if one of the quotas is used up. Raises InTransaction."""
    assert_no_open_transaction("a rate limit was counted")
    parameters = {
        "subjects": list(quotas),
        "quotas": [quota.limit for quota in quotas.values()],
        "periods": [quota.seconds for quota in quotas.values()],
    }
    hits = {subject: Hit(*hit) for subject, *hit in fetch_rows(alias, COUNT, parameters)}
    refused = [subject for subject in quotas if subject not in hits]
    if not refused:
        return Answer(hits, {})
    remove(alias, hits, hits)
    return Answer({}, _find_waits(alias, refused, quotas))


def _find_waits(alias: str, subjects: list[str], quotas: Quotas) -> dict[str, float]:
    seconds = [quotas[subject].seconds for subject in subjects]
    found: dict[str, list[float]] = dict(fetch_rows(alias, _FIND_WAITS_SQL, [subjects, seconds]))
    waits = dict.fromkeys(subjects, 0.0)
    for subject, of_requests in found.items():
        surplus = len(of_requests) - quotas[subject].limit
        if surplus >= 0:  # else the quota was free again before it was looked up
            waits[subject] = of_requests[surplus]
    return waits


def remove(alias: str, hits: Mapping[str, Hit], subjects: Iterable[str]) -> None:
    """Remove a counted request from these subjects."""
    if taken := sorted(subjects):
        execute(alias, _REMOVE_SQL, [taken, [hits[subject].counted_as for subject in taken]])


def purge(alias: str) -> int:
    """Delete the counters whose requests are all older than their periods. Returns their number."""
    return execute(alias, "DELETE FROM shop_ratelimit WHERE expires_at < now()")
