"""The calls of a process to the five: counted, and noted, so that all that may be are made once more at a test's end."""

from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from shop import remote, services
from shop.errors import DomainError, Unavailable

made: Counter[str] = Counter()  # by the method's name


def noting(urls: Iterable[str]) -> None:
    """From now on this process notes its calls to these addresses: idempotent ones in `services.journal`, if there is one.

    What a test puts in their place is not there any more when the test is over, and need not answer.
    """
    services.reach_by(partial(_reach, frozenset(urls)))


def _reach(urls: frozenset[str], method: services.Method, url: str) -> services.Send:
    send = remote.reach(method, url)
    if url not in urls:
        return send

    def call(**arguments: Any) -> Any:
        made[method.name] += 1
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
