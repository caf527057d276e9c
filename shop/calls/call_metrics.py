"""Traffic between contexts: how often they call each other and receive each other's events, how long it takes, and how
often it fails.

The transports log calls in memory (`services.call_log`). Every few seconds a thread adds them up in the caller's
database, in one row for each edge, minute and histogram bucket; so processes share the rows, and no request waits for
the write. A process that is killed loses the counts of its last seconds. Events are not counted here: the outbox has
them.
"""

import math
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal, NamedTuple
from uuid import UUID

import structlog
from django.db import Error

from shop.calls import services
from shop.db.database import PreparedStatement, close_all_connections, execute, fetch_rows, hosted_contexts

FLUSH_INTERVAL_SECONDS = 5.0
BUCKETS_PER_DOUBLING = 2  # histogram buckets for each doubling of the duration: the error of a quantile is below 20 %
WINDOW_MINUTES = 10

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Edge:
    """The calls of one method, or the deliveries of one event, from one context to another. Durations in milliseconds.

    The duration of a call is measured by the caller, and its p50 and p95 are estimates. The duration of an event is the
    time from its publication to its acknowledgement.
    """

    kind: Literal["call", "event"]
    caller: str
    callee: str
    name: str
    count: int
    per_minute: float
    failed: int  # calls without a response; events that are not acknowledged yet
    mean: float
    p50: float
    p95: float


def _get_caller_name(module: str) -> str:
    """Return the caller's name for a module: `contexts.orders.checkout` is orders, `config.admin_site` is admin."""
    parts = module.split(".")
    return parts[1] if parts[0] == "contexts" else parts[-1].removesuffix("_site")


def _get_database(caller: str) -> str:
    """Return the alias that stores a caller's counts: its own one, or the first one of this process."""
    return caller if caller in hosted_contexts() else hosted_contexts()[0]


class CallRecorder:
    """The thread that stores the counts of this process's calls."""

    def __init__(self) -> None:
        self.totals: dict[_Bucket, _Totals] = defaultdict(_Totals)
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, name="call-metrics", daemon=True)

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        """Store the remaining counts and end the thread."""
        self.stopping.set()
        self.thread.join(2 * FLUSH_INTERVAL_SECONDS)

    def _run(self) -> None:
        while not self.stopping.wait(FLUSH_INTERVAL_SECONDS):
            self.flush()
        self.flush()

    def flush(self) -> None:
        """Add the logged calls to the stored counts. Counts that cannot be written are kept for the next flush."""
        self._aggregate_log()
        for alias in hosted_contexts():
            if keys := sorted(key for key in self.totals if _get_database(key.caller) == alias):
                self._write_totals(alias, keys)

    def _write_totals(self, alias: str, keys: list["_Bucket"]) -> None:
        rows = [(*key, *self.totals[key].as_row()) for key in keys]
        try:
            execute(alias, _ADD_COUNTS, [list(column) for column in zip(*rows, strict=True)])
            for key in keys:
                del self.totals[key]
        except Error as error:
            log.warning("call_metrics_not_written", context=alias, error=str(error))
        finally:
            close_all_connections()

    def _aggregate_log(self) -> None:
        for _ in range(len(services.call_log)):
            module, method, seconds, failed = services.call_log.popleft()
            if not module.startswith("shop."):  # those are deliveries of events
                bucket_index = math.floor(BUCKETS_PER_DOUBLING * math.log2(max(1.0, 1e6 * seconds)))
                self.totals[_Bucket(_get_caller_name(module), method, bucket_index)].add(seconds, failed)


class _Bucket(NamedTuple):
    """One edge and one bucket of its histogram: durations from 2**(bucket_index/2) microseconds on."""

    caller: str
    method: str
    bucket_index: int


@dataclass
class _Totals:
    """The calls of one bucket."""

    calls: int = 0
    failed: int = 0
    seconds: float = 0.0

    def add(self, seconds: float, failed: bool) -> None:
        self.calls += 1
        self.failed += failed
        self.seconds += seconds

    def as_row(self) -> tuple[int, int, float]:
        return self.calls, self.failed, self.seconds


_ADD_COUNTS = PreparedStatement("""
INSERT INTO shop_callcount AS before (minute, caller, method, nth, calls, failed, seconds)
SELECT date_trunc('minute', now()), added.*
FROM unnest(%s::text[], %s::text[], %s::int[], %s::int[], %s::int[], %s::float[]) AS added
ON CONFLICT (minute, caller, method, nth) DO UPDATE SET
    calls = before.calls + excluded.calls, failed = before.failed + excluded.failed,
    seconds = before.seconds + excluded.seconds""")


# The window starts at a full minute, and not before the first count. Each row is one histogram bucket, shortest first.
_SELECT_CALLS = """
WITH span AS (
    SELECT greatest(min(minute), date_trunc('minute', now()) - (%s - 1) * interval '1 minute') AS since
    FROM shop_callcount)
SELECT caller, method, greatest(1, extract(epoch FROM now() - since) / 60)::float,
       nth, sum(calls), sum(failed), sum(seconds)
FROM shop_callcount, span WHERE minute >= since GROUP BY caller, method, since, nth ORDER BY caller, method, nth"""

# Ids of events sort by time, so the condition on the id keeps older events from being read.
_SELECT_EVENTS = """
SELECT event.name, subscriber, count(*), count(*) / greatest(1, least(%s, extract(epoch FROM now() - (
           SELECT occurred_at FROM shop_outboxevent ORDER BY id LIMIT 1)) / 60))::float,
       count(*) FILTER (WHERE acknowledged_at IS NULL), coalesce(avg(ms), 0)::float,
       coalesce(percentile_cont(0.5) WITHIN GROUP (ORDER BY ms), 0),
       coalesce(percentile_cont(0.95) WITHIN GROUP (ORDER BY ms), 0)
FROM shop_delivery JOIN shop_outboxevent event ON event.id = event_id,
     LATERAL (SELECT 1000 * extract(epoch FROM acknowledged_at - occurred_at)::float AS ms) AS took
WHERE event_id >= %s GROUP BY event.name, subscriber ORDER BY event.name, subscriber"""


def list_edges(alias: str, minutes: int = WINDOW_MINUTES) -> list[Edge]:
    """Return the calls that one database's contexts made in the last minutes, and the deliveries of its events."""
    histograms: dict[tuple[str, str, float], list[_StoredBucket]] = defaultdict(list)
    for caller, method, span, *counts in fetch_rows(alias, _SELECT_CALLS, [minutes]):
        histograms[caller, method, span].append(_StoredBucket(*counts))
    oldest_id = UUID(int=int(1000 * (time.time() - 60 * minutes)) << 80)
    return [_build_call_edge(*edge, buckets) for edge, buckets in histograms.items()] + [
        Edge("event", alias, subscriber, name, *figures)
        for name, subscriber, *figures in fetch_rows(alias, _SELECT_EVENTS, [minutes, oldest_id])
    ]


class _StoredBucket(NamedTuple):
    """The calls of one bucket over the whole window."""

    bucket_index: int
    calls: int
    failed: int
    seconds: float


def _build_call_edge(caller: str, method: str, span: float, buckets: list[_StoredBucket]) -> Edge:
    """Build the edge of one method from its buckets, shortest first. `span`: minutes."""
    callee, _, name = method.partition(".")
    count = sum(bucket.calls for bucket in buckets)
    return Edge(
        kind="call",
        caller=caller,
        callee=callee,
        name=name,
        count=count,
        per_minute=count / span,
        failed=sum(bucket.failed for bucket in buckets),
        mean=1000 * sum(bucket.seconds for bucket in buckets) / count,
        p50=_estimate_quantile(0.5 * count, buckets),
        p95=_estimate_quantile(0.95 * count, buckets),
    )


def _estimate_quantile(rank: float, buckets: list[_StoredBucket]) -> float:
    """Return the milliseconds in the middle of the bucket that contains the call of this rank."""
    cumulated = accumulate(bucket.calls for bucket in buckets)
    bucket_index = next(
        bucket.bucket_index for bucket, reached in zip(buckets, cumulated, strict=True) if reached >= rank
    )
    return float(2 ** ((bucket_index + 0.5) / BUCKETS_PER_DOUBLING)) / 1000
