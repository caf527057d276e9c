"""What a move would take, and what stands in its way. Changes nothing."""

import time
from collections.abc import Iterator
from typing import Any

import psycopg
from django.db import connections
from django.db.migrations.executor import MigrationExecutor

from config import contexts
from config.peel.database import IDENTITY, Database
from config.peel.move import Move
from shop import traffic
from shop.database import rows

OLDEST = 160000  # PostgreSQL whose subscriptions can tell what came from elsewhere (origin)
CALL = 0.2  # milliseconds of a call over loopback, as `python -m bench.calls` measures it
CLOCKS = 1.0  # seconds that the servers' clocks may differ: due times and leases move as they are

_ADMINISTRATOR = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
_FREE = """
SELECT current_setting('max_replication_slots')::int - (SELECT count(*) FROM pg_replication_slots),
       current_setting('max_wal_senders')::int - (SELECT count(*) FROM pg_stat_replication),
       current_setting('max_logical_replication_workers')::int - (
           SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'logical replication %worker')"""
_WITHOUT_KEY = """
SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
AND NOT EXISTS (SELECT 1 FROM pg_index WHERE indrelid = pg_class.oid AND indisprimary)"""
_SIZES = """
SELECT relname::text, greatest(reltuples, 0)::bigint, pg_total_relation_size(pg_class.oid)
FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY 3 DESC"""
_WAITING = """
SELECT (SELECT count(*) FROM shop_delivery WHERE acknowledged_at IS NULL),
       (SELECT count(*) FROM shop_inboxrow WHERE handled_at IS NULL AND parked_at IS NULL),
       (SELECT count(*) FROM shop_inboxrow WHERE parked_at IS NOT NULL)"""


def problems(move: Move) -> list[str]:
    """Why the move cannot be made, each with what to do about it; nothing, where it can."""
    return [*_of_server("today's server", move.old, slots=4), *_of_new_server(move), *_of_tables(move)]


def misplaced(move: Move) -> Iterator[str]:
    """Today's database has to be the one that the context works with, not one that it has left."""
    try:
        is_it = move.old.identity() == rows(move.context, IDENTITY)
    except psycopg.OperationalError as error:
        yield f"{move.old.place.dbname} is not where --from leads: {error}"
        return
    finally:
        connections[move.context].close()
    if not is_it:
        yield f"{move.context} does not work with {move.old.place.dbname} at {move.old.server['HOST']}: --from leads elsewhere"


def _of_new_server(move: Move) -> Iterator[str]:
    server = Database(move.new.server, move.new.place._replace(dbname="postgres"))
    try:
        yield from _of_server("the new server", server, slots=2)
    except psycopg.OperationalError as error:
        yield f"The new server does not answer: {error}"
        return
    apart = abs(_clock(move.old) - _clock(server))
    if apart > CLOCKS:
        yield f"The servers' clocks differ by {apart:.1f} s: leases and due times would jump; synchronize them"
    if server.has("SELECT 1 FROM pg_database WHERE datname = %s", move.new.place.dbname):
        yield from _of_new_database(move)


def _of_server(which: str, database: Database, slots: int) -> Iterator[str]:
    [(version, level, may)] = database.rows(
        f"SELECT current_setting('server_version_num')::int, current_setting('wal_level'), ({_ADMINISTRATOR})"
    )
    if version < OLDEST:
        yield f"PostgreSQL of {which} is older than {OLDEST // 10000}"
    if level != "logical":
        yield f"wal_level of {which} is {level}: set it to logical and restart it"
    if not may:
        yield f"The administrator of {which} is no superuser"
    free = dict(zip(("replication slots", "WAL senders", "logical replication workers"), database.rows(_FREE)[0], strict=True))
    for what, spare in free.items():
        if spare < (2 if "workers" in what else slots):
            yield f"{which} has {spare} {what} to spare, which is not enough"


def _clock(database: Database) -> float:
    """Seconds that its clock is ahead of ours."""
    before = time.time()
    [(its,)] = database.rows("SELECT extract(epoch FROM clock_timestamp())::float")
    return its - (before + time.time()) / 2


def _of_new_database(move: Move) -> Iterator[str]:
    if move.new.identity() == move.old.identity():
        yield "That is the database that the context is in already"
        return
    foreign = "SELECT 1 FROM pg_tables WHERE schemaname = 'public' AND tableowner <> %s"
    if move.new.has(foreign, move.new.place.user):
        yield f"{move.new.place.dbname} on the new server is not empty: drop it, or name another one"


def _of_tables(move: Move) -> Iterator[str]:
    for (table,) in move.old.rows(_WITHOUT_KEY):
        yield f"{table} has no primary key: changes of its rows cannot be carried over"
    executor = MigrationExecutor(connections[move.context])
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        yield f"{move.context} is not at this release: run `manage.py migrate` first"


def plan(move: Move) -> str:
    """The move as lines: what moves, who asks and hears whom, how often, and what the new hops are likely to cost."""
    sizes = move.old.rows(_SIZES)
    [(undelivered, unhandled, parked)] = move.old.rows(_WAITING)
    old, new = move.old.place, move.new.place
    return "\n".join(
        [
            f"{move.context}: {old.dbname} at {_where(old)} -> {new.dbname} at {_where(new)}, as {new.user}",
            f"  moves: {len(sizes)} tables, about {sum(rows for _, rows, _ in sizes)} rows, "
            f"{sum(size for *_, size in sizes) / 1e6:.0f} MB; most of it {', '.join(table for table, *_ in sizes[:3])}",
            f"  on the way now: {undelivered} facts to deliver, {unhandled} to handle, {parked} parked",
            *_edges(move.context, _hop(move)),
        ]
    )


def _where(place: Any) -> str:
    return f"{place.host}:{place.port}" if place.port else place.host


def _hop(move: Move) -> float:
    """Milliseconds that a call is likely to take longer once its callee is where the new server is."""
    server = Database(move.new.server, move.new.place._replace(dbname="postgres"))
    try:
        return CALL + 1000 * min(_round_trip(server) for _ in range(10))
    except psycopg.OperationalError:  # said elsewhere
        return CALL


def _round_trip(server: Database) -> float:
    server.connection  # noqa: B018 - opened before the clock starts
    began = time.perf_counter()
    server.rows("SELECT 1")
    return time.perf_counter() - began


def _edges(context: str, hop: float) -> Iterator[str]:
    """Each way over which the context asks or is asked, hears or is heard."""
    edges, _ = contexts.measured()
    measured = {(edge.caller, edge.callee, edge.name): edge for edge in edges}
    for caller, callee, name in (way for way in _ways(contexts.found()) if context in way[:2]):
        edge = measured.get((caller, callee, name))
        often = f"{edge.per_minute:.0f} a minute" if edge else "not of late"
        if "." in name:  # a fact
            yield f"  {caller} tells {callee} of {name}: {often}"
        else:
            yield f"  {caller} asks {callee} to {name}: {often}" + (_cost(edge, hop) if edge else "")


def _ways(found: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    for call in found["calls"]:
        yield from ((call["caller"], call["callee"], method) for method in call["methods"])
    for event in found["events"]:
        yield from ((event["from"], to, event["event"]) for to in event["to"] if to != event["from"])


def _cost(edge: traffic.Edge, hop: float) -> str:
    return f", {edge.p50:.1f} ms now, about {edge.p50 + hop:.1f} ms then"
