"""The security log: who tried what, from where, and why it was refused. One structured line for each event.

    log_security_event(LOGIN_FAIL, reason="wrong_password", account=user.id)

The events are declared in shop/security_events.py. Most are logged at one place for all: refused requests by the request
middleware, changes by `shop.audit`. Client address, user agent and account are those of shop/clients.py, also in a process that
is called by the one which serves the request. An event never contains a password, a token, an e-mail address or text
that a person has typed.

Metrics read `count_events`. Alerts connect to `security_event_logged`, or are named by SECURITY_EVENT_RECEIVERS.
"""

import re
import threading
from collections import Counter
from functools import partial

import structlog
from django.core.exceptions import ImproperlyConfigured
from django.db.transaction import on_commit
from django.dispatch import Signal
from django.http import HttpRequest, HttpResponse
from django.utils.module_loading import import_string

from shop import clients
from shop.addresses.email import normalize_address
from shop.errors import DomainError
from shop.keyed_hashes import compute_keyed_hash
from shop.security_events import (
    AUTHZ_FAIL,
    EXPIRED,
    RATE_LIMIT_EXCEEDED,
    TOKEN_EXPIRED,
    TOKEN_FAIL,
    TOKEN_MISSING,
    SecurityEvent,
)

LOGGER = "shop.security"
MAX_USER_AGENT_LENGTH = 200
MAX_PATH_LENGTH = 300
ACCOUNT_HASH_LENGTH = 16
# Of responses that no domain error explains.
EVENTS_BY_STATUS = {401: TOKEN_FAIL, 403: AUTHZ_FAIL, 429: RATE_LIMIT_EXCEEDED}

log = structlog.get_logger(LOGGER)
# Sent with `event`, a SecurityEvent, and `fields`, in the thread that serves the request: a receiver has to return at once.
security_event_logged = Signal()
_counts: Counter[tuple[str, str]] = Counter()
_counts_lock = threading.Lock()


def log_security_event(event: SecurityEvent, *, reason: str = "", account: object = None, **fields: object) -> None:
    """Log an event, count it, and send it to the receivers. An error of a receiver is logged and has no other effect.

    reason: a code, no sentence. account: the id of the account that it is about; by default that of the caller.
    """
    client = clients.current.get()
    entry: dict[str, object] = {
        "reason": reason or None,
        "account": str(account) if account else client.account or None,
        "client_address": client.address or None,
        "user_agent": client.user_agent or None,
        **fields,
    }
    getattr(log, event.level)(event.name, **entry)
    with _counts_lock:
        _counts[event.name, reason] += 1
    for receiver, result in security_event_logged.send_robust(sender=SecurityEvent, event=event, fields=entry):
        if isinstance(result, Exception):
            name = getattr(receiver, "__qualname__", repr(receiver))
            structlog.get_logger(__name__).error("security_event_receiver_failed", receiver=name, error=repr(result))


def log_after_commit(alias: str, event: SecurityEvent, **fields: object) -> None:
    """Log an event when the open transaction is committed, or now if there is none."""
    on_commit(partial(log_security_event, event, **fields), using=alias)  # type: ignore[arg-type]


def connect_receiver(path: str) -> None:
    """Connect a function to all events, by its dotted path. Raises ImproperlyConfigured if there is none."""
    try:
        receiver = import_string(path)
    except ImportError as error:
        raise ImproperlyConfigured(f"SECURITY_EVENT_RECEIVERS names {path}: {error}") from error
    if not callable(receiver):
        raise ImproperlyConfigured(f"SECURITY_EVENT_RECEIVERS names {path}, which is not a function")
    security_event_logged.connect(receiver, weak=False, dispatch_uid=path)


def count_events() -> Counter[tuple[str, str]]:
    """Return the numbers of events that this process has logged since its start, by name and reason."""
    with _counts_lock:
        return _counts.copy()


def hash_email(email: str) -> str:
    """Return a keyed hash of an e-mail address, by which the events of one address can be found, known or not."""
    return compute_keyed_hash(f"security log {normalize_address(email)}".encode())[:ACCOUNT_HASH_LENGTH]


def clean_user_agent(header: str) -> str:
    """Return the beginning of a User-Agent header. Everything but printable ASCII becomes a question mark."""
    return re.sub(r"[^ -~]", "?", header[:MAX_USER_AGENT_LENGTH])


def log_refusal(error: DomainError, **fields: object) -> None:
    """Log a refusal that no response of a request shows: a message on a page, or an object of a batch job."""
    if error.security_event:
        log_security_event(error.security_event, reason=error.log_reason or error.code, **fields)


def log_refused_response(request: HttpRequest, response: HttpResponse) -> None:
    """Log the response if it refuses its request: 401, 403, 429, and other errors that declare a security event.

    The response has its domain error in `refusal`. Errors without an event (a wrong password) are logged where they arise.
    """
    error: DomainError | None = getattr(response, "refusal", None)
    event = error.security_event if error else EVENTS_BY_STATUS.get(response.status_code)
    if event is None:
        return
    reason = (error.log_reason or error.code) if error else f"status_{response.status_code}"
    if event is TOKEN_FAIL and (reason == EXPIRED or not request.headers.get("Authorization")):
        event = TOKEN_EXPIRED if reason == EXPIRED else TOKEN_MISSING
    fields = {"method": request.method, "path": request.path[:MAX_PATH_LENGTH], "status": response.status_code}
    if policy := response.headers.get("RateLimit-Policy", ""):
        fields["limit"] = policy.partition(";")[0].strip('"')
    log_security_event(event, reason=reason, **fields)
