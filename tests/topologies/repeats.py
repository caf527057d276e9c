"""The idempotent calls of a test to other processes, so that all are made once more at its end; as loopback does it."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from shop import remote, services
from shop.errors import DomainError, Unavailable


def noting(urls: Iterable[str]) -> None:
    """From now on this process notes calls to these addresses in `services.journal`, as long as there is one.

    What a test puts in their place is not there any more when the test is over, and need not answer.
    """
    services.reach_by(partial(reach, frozenset(urls)))


def reach(urls: frozenset[str], method: services.Method, url: str) -> services.Send:
    send = remote.reach(method, url)
    if url not in urls:
        return send

    def call(**arguments: Any) -> Any:
        if method.repeat == "idempotent" and services.journal is not None:
            services.journal.append(partial(_again, send, **arguments))
        return send(**arguments)

    return call


def _again(send: Callable, **arguments: Any) -> None:
    """What it answers is no matter, as long as it does."""
    try:
        send(**arguments)
    except DomainError as error:
        if isinstance(error, Unavailable):
            raise
