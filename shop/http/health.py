"""Liveness and readiness endpoints."""

import threading
from concurrent.futures import ThreadPoolExecutor

from django.db import connections
from django.http import HttpRequest, HttpResponse

from shop.db.database import OUTAGE_ERRORS, fetch_rows, hosted_contexts
from shop.http.read_only import read_only
from shop.http.rest import respond
from shop.messaging import inbox, relay

MAX_LAG_SECONDS = 30.0  # more is reported, but the process stays ready: a restart would not help
draining = threading.Event()  # set before a stop: the process still serves, but gateways stop sending requests


@read_only
def health(request: HttpRequest) -> HttpResponse:
    """Respond 200 while the process runs."""
    return respond({"status": "ok"})


@read_only
def ready(request: HttpRequest) -> HttpResponse:
    """Check the database of each hosted context and report the lag of its engine in seconds.

    Responds 503 if a database is unavailable, and while the process is draining. What a restart would not change is reported
    as `degraded`, and the process stays ready: an engine that lags, and events that are refused or parked.
    """
    if draining.is_set():
        return respond({"status": "draining", "contexts": {}}, 503)
    with ThreadPoolExecutor(len(hosted_contexts())) as pool:  # in parallel: wait for one timeout only
        contexts = dict(zip(hosted_contexts(), pool.map(_check_context, hosted_contexts()), strict=True))
    is_ready = all(state["database"] == "ok" for state in contexts.values())
    return respond({"status": "ready" if is_ready else "not ready", "contexts": contexts}, 200 if is_ready else 503)


def _check_context(context: str) -> dict[str, object]:
    try:
        fetch_rows(context, "SELECT 1")
        inbox_lag, parked = inbox.measure_lag(context)
        backlog = relay.measure_backlog(context)
        lag = max(backlog.lag_seconds, inbox_lag)
        return {
            "database": "ok",
            "engine": "lagging" if lag > MAX_LAG_SECONDS else "ok",
            "lag_seconds": round(lag, 3),
            "parked": parked,
            "refused_deliveries": backlog.refused,
            "parked_deliveries": backlog.parked,
            "degraded": lag > MAX_LAG_SECONDS or bool(parked or backlog.refused or backlog.parked),
        }
    except OUTAGE_ERRORS:
        return {"database": "unavailable"}
    finally:
        connections[context].close()
