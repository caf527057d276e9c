"""Commits that do not wait for the disk, where what a crash of the server loses is done again (docs/protocol.md, section 9).

A server that crashes loses its last relaxed commits, from some moment on, in all its databases; what came before a commit that
has waited is kept. This module decides about the effects of delivered events, whose acknowledgement has to follow in the same
log. Other statements with RELAX_SQL are transactions of their own, whose loss is harmless on any server.

Processes outlive the crash and remember what is lost. So a lease is never taken by a relaxed commit, and an acknowledgement
after one is recorded by the session that has claimed the events, or not at all: no session survives a crash.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

from django.conf import settings
from django.db import connections

from shop.db.postgres.prepared import PreparedStatement

if TYPE_CHECKING:
    from shop.db.postgres.base import DatabaseWrapper

# A part of a statement: relaxes its transaction.
RELAX_SQL = "set_config('synchronous_commit', 'off', true)"
# Something that is written: a commit without it would wait for nothing.
_WRITE = PreparedStatement("SELECT pg_logical_emit_message(true, 'satsuma', '')")


class Delivery:
    """A delivery to subscribers in this process, of events that were claimed in the present session of the publisher."""

    def __init__(self, publisher: str) -> None:
        self.wrapper = _get_wrapper(publisher)
        self.session = self.wrapper.connection
        self.server = _identify_server(self.wrapper) if settings.CONNECTIONS.relaxed_commits else None
        self.has_relaxed = False

    def can_acknowledge(self) -> bool:
        """Return whether an acknowledgement stands behind all effects in the log: the server has not crashed meanwhile."""
        self.wrapper.close_if_health_check_failed()
        self.wrapper.ensure_connection()
        return not self.has_relaxed or self.wrapper.connection is self.session


class _State(threading.local):
    delivery: Delivery | None = None


_state = _State()


@contextmanager
def track_delivery(publisher: str) -> Iterator[Delivery]:
    """Let effects be relaxed while this thread delivers events that it has just claimed."""
    _state.delivery = Delivery(publisher)
    try:
        yield _state.delivery
    finally:
        _state.delivery = None


def claim_relaxed_commit(alias: str) -> bool:
    """Return whether the effects of the present delivery may be relaxed: they are on the publisher's server, with one log."""
    delivery = _state.delivery
    if not (delivery and delivery.server and delivery.wrapper.connection is delivery.session):
        return False
    if _identify_server(_get_wrapper(alias)) != delivery.server:
        return False
    delivery.has_relaxed = True
    return True


def await_disk(alias: str) -> None:
    """Wait until everything that was committed on the server of an alias is on its disk."""
    _get_wrapper(alias).run(_WRITE, ())


def _identify_server(wrapper: "DatabaseWrapper") -> tuple[int, object] | None:
    with wrapper.wrap_database_errors:  # a lost connection is an outage, as in any other statement
        identity: tuple[int, object] | None = wrapper.connection.server_identity
        return identity


def _get_wrapper(alias: str) -> "DatabaseWrapper":
    return cast("DatabaseWrapper", connections[alias])
