"""Count the calls of a process to the five, and record the idempotent ones, so that a test can repeat them at its end."""

from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from shop.calls import methods, services
from shop.calls.remote.client import bind_remote
from shop.errors import DomainError, Unavailable

call_counts: Counter[str] = Counter()  # by the method's name


def record_calls_to(urls: Iterable[str]) -> None:
    """Record the calls of this process to these addresses: idempotent ones in `services.idempotent_calls`, if it is a list.

    Calls to other addresses are not recorded: the fakes there no longer respond when the test is over.
    """
    services.set_remote_transport(partial(_connect_recording, frozenset(urls)))


def _connect_recording(urls: frozenset[str], method: methods.Method, url: str) -> methods.MethodCall:
    send = bind_remote(method, url)
    if url not in urls:
        return send

    def call(**arguments: Any) -> Any:
        call_counts[method.name] += 1
        if method.retry_policy == "idempotent" and services.idempotent_calls is not None:
            services.idempotent_calls.append(partial(_repeat_call, send, **arguments))
        return send(**arguments)

    return call


def _repeat_call(send: Callable, **arguments: Any) -> None:
    """Repeat a call. Any result is accepted, also a domain error, but not an outage."""
    try:
        send(**arguments)
    except DomainError as error:
        if isinstance(error, Unavailable):
            raise
