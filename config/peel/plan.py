"""What a move would take, and what stands in its way. Changes nothing."""

import time
from collections.abc import Iterator
from typing import Any

import psycopg
from django.db import connections
from django.db.migrations.executor import MigrationExecutor

from config import contexts
from config.peel.database import Database
from config.peel.move import Move

OLDEST = 160000  # PostgreSQL whose subscriptions can tell what came from elsewhere (origin)
CLOCKS = 1.0  # seconds that the servers' clocks may differ: due times and leases move as they are

_ADMINISTRATOR = """
SELECT rolsuper OR (rolcreaterole AND rolcreatedb AND rolreplication AND pg_has_role('pg_create_subscription', 'member'))
FROM pg_roles WHERE rolname = current_user"""
_FREE = """
SELECT current_setting('max_replication_slots')::int - (SELECT count(*) FROM pg_replication_slots),
       current_setting('max_wal_senders')::int - (SELECT count(*) FROM pg_stat_replication)"""
_WITHOUT_KEY = """
SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
AND NOT EXISTS (SELECT 1 FROM pg_index WHERE indrelid = pg_class.oid AND indisprimary)"""
_SIZES = """
SELECT relname::text, greatest(reltuples, 0)::bigint, pg_total_relation_size(pg_class.oid)
FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY 3 DESC"""
_WAITING = """
SELECT (SELECT count(*) FROM shop_delivery WHERE acknowledged_at IS NULL),
       (SELECT count(*) FROM shop_inboxrow WHERE handled_at IS NULL AND parked_at IS NULL),
       (SELECT count(*) FROM shop_inboxrow WHERE parked_at IS NOT NULL),
       (SELECT count(*) FROM shop_idempotencykey)"""


def problems(move: Move) -> list[str]:
    """Why the move cannot be made, each with what to do about it; nothing, where it can."""
    return [*_of_server("today's server", move.old, slots=4), *_of_new_server(move), *_of_tables(move)]


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
        yield f"The administrator of {which} may not create roles, databases, slots and subscriptions"
    [(free_slots, free_senders)] = database.rows(_FREE)
    if min(free_slots, free_senders) < slots:
        yield f"{which} has {free_slots} replication slots and {free_senders} WAL senders to spare; {slots} are needed"


def _clock(database: Database) -> float:
    """Seconds that its clock is ahead of ours."""
    before = time.time()
    [(its,)] = database.rows("SELECT extract(epoch FROM clock_timestamp())::float")
    return its - (before + time.time()) / 2


def _of_new_database(move: Move) -> Iterator[str]:
    same = "SELECT system_identifier::text || ' ' || current_database() FROM pg_control_system()"
    if move.new.rows(same) == move.old.rows(same):
        yield "That is the database that the context is in already"
    foreign = "SELECT 1 FROM pg_tables WHERE schemaname = 'public' AND tableowner <> %s"
    if move.new.has(foreign, move.new.place.user):
        yield f"{move.new.place.dbname} on the new server is not empty: drop it, or name another one"


def _of_tables(move: Move) -> Iterator[str]:
    for (table,) in move.old.rows(_WITHOUT_KEY):
        yield f"{table} has no primary key: changes of its rows cannot be carried over"
    executor = MigrationExecutor(connections[move.context])
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        yield f"{move.context} is not at this release: run `manage.py migrate` first"


def plan(move: Move, traffic: dict[tuple[str, str], Any]) -> str:
    """The move as paragraphs: what moves, who asks and hears whom, and what the new hops are likely to cost.

    traffic: of each (caller, method), as `shop.traffic.calls` has it.
    """
    sizes = move.old.rows(_SIZES)
    [(undelivered, unhandled, parked, keys)] = move.old.rows(_WAITING)
    old, new = move.old.place, move.new.place
    lines = [
        f"{move.context}: {old.dbname} at {_where(old)} -> {new.dbname} at {_where(new)}, as {new.user}",
        f"  moves: {len(sizes)} tables, about {sum(rows for _, rows, _ in sizes)} rows, "
        f"{sum(size for *_, size in sizes) / 1e6:.0f} MB; most of it {', '.join(table for table, *_ in sizes[:3])}",
        f"  on the way now: {undelivered} facts to deliver, {unhandled} to handle, {parked} parked; {keys} idempotency keys",
        *_edges(move.context, traffic),
    ]
    return "\n".join(lines)


def _where(place: Any) -> str:
    return f"{place.host}:{place.port}" if place.port else place.host


def _edges(context: str, traffic: dict[tuple[str, str], Any]) -> Iterator[str]:
    found = contexts.found()
    for call in found["calls"]:
        if context in (call["caller"], call["callee"]):
            yield f"  over the network from then on: {call['caller']} asks {call['callee']} for {', '.join(call['methods'])}"
    for event in found["events"]:
        others = sorted(set(event["to"]) - {context})
        if event["from"] == context and others:
            yield f"  {event['event']} goes to {', '.join(others)}"
        elif context in event["to"] and event["from"] != context:
            yield f"  {event['event']} comes from {event['from']}"

