"""Plan a move: what would move, what it would cost, and what prevents it. Changes nothing."""

import time
from collections.abc import Iterator
from typing import NamedTuple

import psycopg
from django.db import connections
from django.db.migrations.executor import MigrationExecutor

from ops.peel.database import IDENTITY_SQL, Database
from ops.peel.move import Move
from ops.peel.ownership import name_owner
from ops.topology import context_map
from shop.calls import call_metrics
from shop.db.database import fetch_rows
from shop.db.postgres.locations import DatabaseLocation
from shop.text import format_count

MIN_SERVER_VERSION = 160000  # of PostgreSQL, whose subscriptions can exclude replicated rows (origin = none)
LOOPBACK_CALL_MILLISECONDS = 0.2  # duration of a call over loopback, as measured by `python -m bench.calls`
MAX_CLOCK_SKEW_SECONDS = 1.0  # between the servers, since due times and leases are moved as they are
ROUND_TRIP_SAMPLES = 10

_IS_SUPERUSER_SQL = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
_FREE_SLOTS_SQL = """
SELECT current_setting('max_replication_slots')::int - (SELECT count(*) FROM pg_replication_slots),
       current_setting('max_wal_senders')::int - (SELECT count(*) FROM pg_stat_replication),
       current_setting('max_logical_replication_workers')::int - (
           SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'logical replication %worker')"""
_TABLES_WITHOUT_KEY_SQL = """
SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
AND NOT EXISTS (SELECT 1 FROM pg_index WHERE indrelid = pg_class.oid AND indisprimary)"""
_TABLE_SIZES_SQL = """
SELECT relname::text, greatest(reltuples, 0)::bigint, pg_total_relation_size(pg_class.oid)
FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname = ANY(%s) ORDER BY 3 DESC"""
_PENDING_MESSAGES_SQL = """
SELECT (SELECT count(*) FROM shop_delivery WHERE acknowledged_at IS NULL AND parked_at IS NULL),
       (SELECT count(*) FROM shop_inboxrow WHERE handled_at IS NULL AND parked_at IS NULL),
       (SELECT count(*) FROM shop_inboxrow WHERE parked_at IS NOT NULL)
       + (SELECT count(*) FROM shop_delivery WHERE parked_at IS NOT NULL)"""


class Dependency(NamedTuple):
    """A method that one context calls of another, or an event (`context.name`) that the other one consumes."""

    caller: str
    callee: str
    name: str


def find_problems(move: Move) -> list[str]:
    """Find what prevents the move, each with what to do about it."""
    return [
        *_find_server_problems("the current server", move.old, required_slots=4),
        *_find_new_server_problems(move),
        *_find_table_problems(move),
    ]


def find_source_problems(move: Move) -> Iterator[str]:
    """Check that the source is the database that the context uses, and not one that it has left."""
    try:
        is_current = move.old.read_identity() == fetch_rows(move.context, IDENTITY_SQL)
    except psycopg.OperationalError as error:
        yield f"{move.old.location.dbname} cannot be reached at the server of --from: {error}"
        return
    finally:
        connections[move.context].close()
    if not is_current:
        yield (
            f"{move.context} does not use {move.old.location.dbname} at {move.old.server['HOST']}: "
            "name its current server with --from"
        )


def _find_new_server_problems(move: Move) -> Iterator[str]:
    server = Database(move.new.server, move.new.location._replace(dbname="postgres"))
    try:
        yield from _find_server_problems("the new server", server, required_slots=2)
    except psycopg.OperationalError as error:
        yield f"The new server does not respond: {error}"
        return
    skew = abs(_measure_clock_offset(move.old) - _measure_clock_offset(server))
    if skew > MAX_CLOCK_SKEW_SECONDS:
        yield f"The clocks of the servers differ by {skew:.1f} s, which would shift leases and due times: synchronize them"
    if server.has_rows("SELECT 1 FROM pg_database WHERE datname = %s", move.new.location.dbname):
        yield from _find_new_database_problems(move)


def _find_server_problems(server: str, database: Database, required_slots: int) -> Iterator[str]:
    [(version, wal_level, is_superuser)] = database.rows(
        f"SELECT current_setting('server_version_num')::int, current_setting('wal_level'), ({_IS_SUPERUSER_SQL})"
    )
    if version < MIN_SERVER_VERSION:
        yield f"The PostgreSQL of {server} is older than version {MIN_SERVER_VERSION // 10000}: upgrade it"
    if wal_level != "logical":
        yield f"wal_level of {server} is {wal_level}: set it to logical and restart the server"
    if not is_superuser:
        yield f"The user for {server} is not a superuser: use one in its address"
    names = ("replication slots", "WAL senders", "logical replication workers")
    for name, free in zip(names, database.rows(_FREE_SLOTS_SQL)[0], strict=True):
        required = 2 if "workers" in name else required_slots
        if free < required:
            yield f"{server} has {free} free {name}, but the move needs {required}: raise its limit"


def _measure_clock_offset(database: Database) -> float:
    """Measure by how many seconds the clock of a server is ahead of ours."""
    before = time.time()
    [(server_time,)] = database.rows("SELECT extract(epoch FROM clock_timestamp())::float")
    return float(server_time) - (before + time.time()) / 2


def _find_new_database_problems(move: Move) -> Iterator[str]:
    if move.new.read_identity() == move.old.read_identity():
        yield "--to is the database that the context already uses: name another one"
        return
    foreign = "SELECT 1 FROM pg_tables WHERE schemaname = 'public' AND tableowner <> ALL(%s)"
    if move.new.has_rows(foreign, [move.new.location.user, name_owner()]):
        yield f"{move.new.location.dbname} on the new server is not empty: drop it, or name another database"


def _find_table_problems(move: Move) -> Iterator[str]:
    for (table,) in move.old.rows(_TABLES_WITHOUT_KEY_SQL):
        yield f"{table} has no primary key, so changes of its rows cannot be replicated: add one"
    executor = MigrationExecutor(connections[move.context])
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        yield f"{move.context} has unapplied migrations: run `manage.py migrate` first"


def describe_plan(move: Move) -> str:
    """Describe the move: what moves, which calls and events cross, how often, and how much longer each call will take."""
    sizes = move.old.rows(_TABLE_SIZES_SQL, move.old.list_tables())
    [(undelivered, unhandled, parked)] = move.old.rows(_PENDING_MESSAGES_SQL)
    old, new = move.old.location, move.new.location
    return "\n".join(
        [
            f"{move.context}: {old.dbname} at {_format_location(old)} -> "
            f"{new.dbname} at {_format_location(new)}, as {new.user}",
            f"  moves: {format_count(len(sizes), 'table')}, about {format_count(sum(rows for _, rows, _ in sizes), 'row')}, "
            f"{sum(size for *_, size in sizes) / 1e6:.0f} MB; the largest are {', '.join(table for table, *_ in sizes[:3])}",
            f"  pending now: {format_count(undelivered, 'event')} to deliver, {unhandled} to handle, {parked} parked",
            *_describe_dependencies(move.context, _estimate_hop_milliseconds(move)),
        ]
    )


def _format_location(location: DatabaseLocation) -> str:
    return f"{location.host}:{location.port}" if location.port else location.host


def _estimate_hop_milliseconds(move: Move) -> float:
    """Estimate how much longer a call takes once its callee runs where the new server is."""
    server = Database(move.new.server, move.new.location._replace(dbname="postgres"))
    try:
        return LOOPBACK_CALL_MILLISECONDS + 1000 * min(_measure_round_trip(server) for _ in range(ROUND_TRIP_SAMPLES))
    except psycopg.OperationalError:  # find_problems reports it
        return LOOPBACK_CALL_MILLISECONDS


def _measure_round_trip(server: Database) -> float:
    server.connection  # noqa: B018 - opened before the clock starts
    started_at = time.perf_counter()
    server.rows("SELECT 1")
    return time.perf_counter() - started_at


def _describe_dependencies(context: str, hop_milliseconds: float) -> Iterator[str]:
    """Describe each call and event between the context and another one."""
    edges, _ = context_map.collect_traffic()
    traffic = {(edge.caller, edge.callee, edge.name): edge for edge in edges}
    for dependency in _list_dependencies(context_map.build_context_map()):
        if context not in (dependency.caller, dependency.callee):
            continue
        caller, callee, name = dependency
        edge = traffic.get(dependency)
        frequency = f"{edge.per_minute:.0f} a minute" if edge else "not recently"
        if "." in name:  # an event
            yield f"  {caller} publishes {name} for {callee}: {frequency}"
        else:
            cost = _format_cost(edge, hop_milliseconds) if edge else ""
            yield f"  {caller} calls {name} of {callee}: {frequency}{cost}"


def _list_dependencies(found: context_map.ContextMap) -> Iterator[Dependency]:
    for call in found["calls"]:
        yield from (Dependency(call["caller"], call["callee"], method) for method in call["methods"])
    for event in found["events"]:
        publisher = event["from"]
        yield from (Dependency(publisher, to, event["event"]) for to in event["to"] if to != publisher)


def _format_cost(edge: call_metrics.Edge, hop_milliseconds: float) -> str:
    return f", {edge.p50:.1f} ms now, about {edge.p50 + hop_milliseconds:.1f} ms after the move"
