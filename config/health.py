"""Liveness and readiness, for orchestrators and people."""

import threading
from concurrent.futures import ThreadPoolExecutor

from django.db import connections
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from shop import inbox, relay
from shop.database import OUTAGES, hosted, rows
from shop.rest import respond

LAGGING = 30.0  # seconds; a restart would not help, so this is told and does not make a process unready
draining = threading.Event()  # this process still serves, but is going to stop: gateways look elsewhere


@require_safe
def health(request: HttpRequest) -> HttpResponse:
    """The process answers."""
    return respond({"status": "ok"})


@require_safe
def ready(request: HttpRequest) -> HttpResponse:
    """Each database answers; how far its engine is behind, in seconds. 503 where one does not answer, and before a stop."""
    if draining.is_set():
        return respond({"status": "draining", "contexts": {}}, 503)
    with ThreadPoolExecutor(len(hosted())) as pool:  # at once: a database that is away costs its patience only once
        contexts = dict(zip(hosted(), pool.map(_look_at, hosted()), strict=True))
    ok = all(found["database"] == "ok" for found in contexts.values())
    return respond({"status": "ready" if ok else "not ready", "contexts": contexts}, 200 if ok else 503)


def _look_at(context: str) -> dict[str, object]:
    try:
        rows(context, "SELECT 1")
        received, parked = inbox.lag(context)
        behind = max(relay.lag(context), received)
        engine = "lagging" if behind > LAGGING else "ok"
        return {"database": "ok", "engine": engine, "lag_seconds": round(behind, 3), "parked": parked}
    except OUTAGES:
        return {"database": "unavailable"}
    finally:
        connections[context].close()
