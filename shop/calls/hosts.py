"""Ask the processes that host other contexts whether they do, and whether they can serve them."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Protocol

from django.conf import settings
from django.db import connections

from shop.calls import methods, services
from shop.calls.deadline import deadline
from shop.db.database import fetch_rows, hosted_contexts, is_disk_full
from shop.errors import Unavailable

HOST_TIMEOUT_SECONDS = 1.5  # for all hosts, which are asked at the same time: a probe of an orchestrator waits for it


class Host(Protocol):
    """The interface of each process for each context that it hosts."""

    @services.read
    def check_database(self) -> bool:
        """Return True if the database of the context answers, and its disk is not full. Raises Unavailable otherwise."""


@cache
def _get_method(context: str) -> methods.Method:
    return methods.Method(f"{context}.host", Host.check_database)


def get_served_methods(contexts: Iterable[str]) -> dict[str, Callable[[bytes], bytes]]:
    """Map the wire name of `check_database` of each context to the function that serves a request."""
    return {
        _get_method(context).name: partial(_get_method(context).serve, partial(_check_database, context))
        for context in contexts
    }


def _check_database(context: str) -> bool:
    try:
        if is_disk_full(context):
            raise Unavailable(what=f"the database of {context}, whose disk is full,")
        fetch_rows(context, "SELECT 1")  # the disk may have been asked before
        return True
    finally:
        connections[context].close()


def find_host_states() -> dict[str, str]:
    """Return for each context that this process does not host: ok, or unavailable.

    unavailable: its address does not answer, is not set or is a process that does not host it, or its database is unavailable.
    """
    others = [context for context in settings.SERVICES if context not in hosted_contexts()]
    with ThreadPoolExecutor(len(others) or 1) as pool:
        return dict(zip(others, pool.map(_find_state, others), strict=True))


def _find_state(context: str) -> str:
    url = services.get_remote_url(context)
    try:
        if url:
            with deadline(HOST_TIMEOUT_SECONDS):
                services.bind_remote(_get_method(context), url)()
    except Unavailable:
        return "unavailable"
    return "ok" if url else "unavailable"
