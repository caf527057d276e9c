"""Traffic: how often contexts ask each other and hear from each other, how long it takes, and how often it fails.

The transports count in memory (`services.seen`). A thread adds that up in the caller's database every few seconds, in one
row for each edge, minute and range of time; so any number of processes share the rows, and no request waits for them.
What a process has not written when it is killed is missing. Facts are not counted: the outbox knows.
"""

import math
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from itertools import accumulate
from uuid import UUID

import structlog
from django.db import Error

from shop import services
from shop.database import Prepared, changed, close_all, hosted, rows

EVERY = 5.0  # seconds
RANGES = 2  # of time for each doubling: a quantile is off by a fifth at most
WINDOW = 10  # minutes that are looked at

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Edge:
    """What went from a context to another: calls of a method, or facts. Times in milliseconds.

    p50 and p95 of a call are estimates; of a fact, from its publication to its acknowledgement.
    """

    kind: str  # call or event
    caller: str
    callee: str
    name: str
    count: int
    per_minute: float
    failed: int  # calls without an answer; facts that are not acknowledged yet
    mean: float
    p50: float
    p95: float


def _context(module: str) -> str:
    """`contexts.orders.saga.steps` is orders; `config.admin` is admin."""
    parts = module.split(".")
    return parts[1] if parts[0] == "contexts" else parts[-1]


def _home(caller: str) -> str:
    """Whose database knows of its calls."""
    return caller if caller in hosted() else hosted()[0]


class Recorder:
    """The thread that writes down what this process's calls came to."""

    def __init__(self) -> None:
        self.sums: dict[tuple[str, str, int], list[float]] = defaultdict(lambda: [0, 0, 0.0])
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, name="traffic", daemon=True)

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        """Write down the rest. Who is killed instead has made some calls that nobody counted."""
        self.stopping.set()
        self.thread.join(2 * EVERY)

    def _run(self) -> None:
        while not self.stopping.wait(EVERY):
            self.write()
        self.write()

    def write(self) -> None:
        """Add up what was seen. What an outage keeps from being written waits for the next time."""
        self._add_up()
        for alias in hosted():
            if mine := sorted(key for key in self.sums if _home(key[0]) == alias):
                self._write(alias, mine)

    def _write(self, alias: str, keys: list[tuple[str, str, int]]) -> None:
        try:
            columns = zip(*((*key, *self.sums[key]) for key in keys), strict=True)
            changed(alias, _ADD, [list(column) for column in columns])
            for key in keys:
                del self.sums[key]
        except Error as error:
            log.warning("traffic_not_written", context=alias, error=str(error))
        finally:
            close_all()

    def _add_up(self) -> None:
        for _ in range(len(services.seen)):
            module, method, seconds, failed = services.seen.popleft()
            if not module.startswith("shop."):  # facts on their way
                nth = math.floor(RANGES * math.log2(max(1.0, 1e6 * seconds)))
                sums = self.sums[_context(module), method, nth]
                sums[0], sums[1], sums[2] = sums[0] + 1, sums[1] + failed, sums[2] + seconds


_ADD = Prepared("""
INSERT INTO shop_callcount AS before (minute, caller, method, nth, calls, failed, seconds)
SELECT date_trunc('minute', now()), come.*
FROM unnest(%s::text[], %s::text[], %s::int[], %s::int[], %s::int[], %s::float[]) AS come
ON CONFLICT (minute, caller, method, nth) DO UPDATE SET
    calls = before.calls + excluded.calls, failed = before.failed + excluded.failed,
    seconds = before.seconds + excluded.seconds""")


# The window begins with a whole minute, and not before anybody has counted.
_CALLS = """
WITH span AS (
    SELECT greatest(min(minute), date_trunc('minute', now()) - (%s - 1) * interval '1 minute') AS since FROM shop_callcount)
SELECT caller, method, greatest(1, extract(epoch FROM now() - since) / 60)::float, nth, sum(calls), sum(failed), sum(seconds)
FROM shop_callcount, span WHERE minute >= since GROUP BY caller, method, since, nth ORDER BY caller, method, nth"""

# Ids of facts sort by time, so that what is older is not read.
_FACTS = """
SELECT event.name, subscriber, count(*), count(*) / greatest(1, least(%s, extract(epoch FROM now() - (
           SELECT occurred_at FROM shop_outboxevent ORDER BY id LIMIT 1)) / 60))::float,
       count(*) FILTER (WHERE acknowledged_at IS NULL), coalesce(avg(ms), 0)::float,
       coalesce(percentile_cont(0.5) WITHIN GROUP (ORDER BY ms), 0),
       coalesce(percentile_cont(0.95) WITHIN GROUP (ORDER BY ms), 0)
FROM shop_delivery JOIN shop_outboxevent event ON event.id = event_id,
     LATERAL (SELECT 1000 * extract(epoch FROM acknowledged_at - occurred_at)::float AS ms) AS took
WHERE event_id >= %s GROUP BY event.name, subscriber ORDER BY event.name, subscriber"""


def edges(alias: str, minutes: int = WINDOW) -> list[Edge]:
    """What one database's callers have asked in the last minutes, and who heard what of its facts."""
    asked: dict[tuple[str, str, float], list[tuple]] = defaultdict(list)
    for caller, method, span, *sums in rows(alias, _CALLS, [minutes]):
        asked[caller, method, span].append(tuple(sums))
    began = UUID(int=int(1000 * (time.time() - 60 * minutes)) << 80)
    return [_called(*edge, sums) for edge, sums in asked.items()] + [
        Edge("event", alias, subscriber, name, *figures)
        for name, subscriber, *figures in rows(alias, _FACTS, [minutes, began])
    ]


def _called(caller: str, method: str, span: float, sums: list[tuple]) -> Edge:
    """`sums`: range, calls, failed, seconds; the shortest first."""
    callee, _, name = method.partition(".")
    _, count, failed, seconds = (sum(column) for column in zip(*sums, strict=True))
    quantiles = (_quantile(share * count, sums) for share in (0.5, 0.95))
    return Edge("call", caller, callee, name, count, count / span, failed, 1000 * seconds / count, *quantiles)


def _quantile(rank: float, sums: list[tuple]) -> float:
    """Milliseconds, from the middle of the range that holds the call of this rank."""
    up_to = accumulate(calls for _, calls, *_ in sums)
    nth = next(nth for (nth, *_), reached in zip(sums, up_to, strict=True) if reached >= rank)
    return 2 ** ((nth + 0.5) / RANGES) / 1000


def purge(alias: str) -> int:
    """Forget the figures of more than a day ago. Returns how many rows."""
    return changed(alias, "DELETE FROM shop_callcount WHERE minute < now() - interval '1 day'")
