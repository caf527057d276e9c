"""Liveness and readiness endpoints."""

import shutil
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from django.apps import apps
from django.conf import settings
from django.db import connections
from django.http import HttpRequest, HttpResponse

from shop import clock
from shop.calls.hosts import find_host_states
from shop.connection_settings import READ_ACCEPTED_SQL, AcceptedConnections
from shop.db.database import OUTAGE_ERRORS, fetch_rows, hosted_contexts, is_disk_full
from shop.db.postgres.audit_privileges import READ_AUDIT_PRIVILEGES_SQL
from shop.db.postgres.log_settings import READ_LOG_SETTINGS_SQL, ROLE_LOG_SETTINGS, find_exposing_settings
from shop.http.read_only import read_only
from shop.http.rest import respond
from shop.messaging import inbox, relay
from shop.purging import find_problems
from shop.shared_outcome import SharedOutcome
from shop.version import VERSION

MAX_LAG_SECONDS = 30.0  # more is reported, but the process stays ready: a restart would not help
READINESS_MAX_AGE_SECONDS = 1.0  # of the checks of /ready
draining = threading.Event()  # set before a stop: the process still serves, but gateways stop sending requests


class Readiness(NamedTuple):
    """The states of the hosted contexts, of the others, and of the disk of this machine, as /ready reports them."""

    contexts: dict[str, dict[str, object]]
    elsewhere: dict[str, str]
    disk: dict[str, object]


@read_only
def health(request: HttpRequest) -> HttpResponse:
    """Respond 200 while the process runs, with the release that it runs and its clock."""
    return respond({"status": "ok", "version": VERSION, "time": clock.now()})


@read_only
def ready(request: HttpRequest) -> HttpResponse:
    """Check the database of each hosted context and the hosts of the others, and report the lag of the engine in seconds.

    Responds 503 without a database that is needed to sell (`ContextConfig.is_needed_to_sell`), without any database, and while
    the process is draining. A database whose disk is full counts as unavailable. Everything else is reported as `degraded`, and
    the process stays ready, since it serves the rest: other databases and contexts that are unavailable, an engine that
    lags, events that are refused or parked, old rows that are not deleted, a disk that is nearly full, servers that log
    personal data or accept fewer connections than all processes may open, and roles that can change audit rows.

    With `?scope=shop` the contexts in other processes count like those of this one: a gateway has no part in the shop itself.
    Anyone may ask, so the checks run at most once in READINESS_MAX_AGE_SECONDS.
    """
    if draining.is_set():
        return respond({"status": "draining", "contexts": {}}, 503)
    contexts, elsewhere, disk = readiness.get()
    states = {context: str(state["database"]) for context, state in contexts.items()}
    is_ready = _can_serve(states | elsewhere if request.GET.get("scope") == "shop" else states)
    is_degraded = (
        not is_ready
        or disk["state"] != "ok"
        or set(elsewhere.values()) - {"ok"}
        or any(state.get("degraded", True) for state in contexts.values())
    )
    body = {
        "status": "ready" if is_ready else "not ready",
        "degraded": bool(is_degraded),
        "contexts": contexts,
        "elsewhere": elsewhere,
        "disk": disk,
    }
    return respond(body, 200 if is_ready else 503)


def _check_everything() -> Readiness:
    with ThreadPoolExecutor(len(hosted_contexts()) + 1) as pool:  # in parallel: wait for one timeout only
        finding = pool.submit(find_host_states)
        contexts = dict(zip(hosted_contexts(), pool.map(_check_context, hosted_contexts()), strict=True))
        return Readiness(contexts, finding.result(), _check_disk())


readiness = SharedOutcome(_check_everything, READINESS_MAX_AGE_SECONDS)


def _can_serve(states: Mapping[str, str]) -> bool:
    """Return whether enough of these contexts are available to send requests to them."""
    available = {context for context, state in states.items() if state == "ok"}
    needed = {context for context in states if getattr(apps.get_app_config(context), "is_needed_to_sell", False)}
    return bool(available) and needed.issubset(available)


def _check_disk() -> dict[str, object]:
    """Return the space that is left on the fullest disk of DISK_FOLDERS, in megabytes, and whether that is enough."""
    free = [_measure_free_mb(folder) for folder in settings.DISK_FOLDERS]
    is_low = min(free, default=settings.MIN_FREE_DISK_MB) < settings.MIN_FREE_DISK_MB
    return {"state": "nearly full" if is_low else "ok", "free_mb": min(free, default=None)}


def _measure_free_mb(folder: str) -> int:
    try:
        return shutil.disk_usage(folder).free // 1_000_000
    except OSError:
        return 0  # nothing can be stored in a folder that is missing


def _check_context(context: str) -> dict[str, object]:
    try:
        exposing = find_exposing_settings(fetch_rows(context, READ_LOG_SETTINGS_SQL, [list(ROLE_LOG_SETTINGS)]))
        [accepted] = fetch_rows(context, READ_ACCEPTED_SQL)
        missing_connections = settings.CONNECTIONS.count_missing(AcceptedConnections(*accepted))
        audit_privileges = [privilege for (privilege,) in fetch_rows(context, READ_AUDIT_PRIVILEGES_SQL)]
        if is_disk_full(context):
            return {"database": "disk full"}
        inbox_lag, parked = inbox.measure_lag(context)
        backlog = relay.measure_backlog(context)
        purges = find_problems(context)
        lag = max(backlog.lag_seconds, inbox_lag)
        return {
            "database": "ok",
            "engine": "lagging" if lag > MAX_LAG_SECONDS else "ok",
            "lag_seconds": round(lag, 3),
            "parked": parked,
            "refused_deliveries": backlog.refused,
            "parked_deliveries": backlog.parked,
            "failing_purges": purges.failing,
            "late_purges": purges.behind,
            "exposing_log_settings": sorted(exposing),
            "missing_connections": missing_connections,
            "audit_privileges": audit_privileges,
            "degraded": lag > MAX_LAG_SECONDS
            or missing_connections > 0
            or bool(audit_privileges or parked or backlog.refused or backlog.parked or any(purges))
            or bool(exposing and not settings.ALLOW_PERSONAL_DATA_IN_DATABASE_LOG),
        }
    except OUTAGE_ERRORS:
        return {"database": "unavailable"}
    finally:
        connections[context].close()
