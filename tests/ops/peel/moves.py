"""State that the tests of a move inspect: the directory, the databases and the orders that were placed meanwhile."""

import json

import psycopg

from ops.peel.directory import connect_as_administrator
from shop.db.postgres.urls import parse_postgres_url
from tests.concurrency import eventually
from tests.ops.peel.moving_shop import PREFIX, Buyers, MovingShop


def verify_when_idle(shop) -> dict:
    """Run `verify` until it finds no violation, and return its report."""
    return eventually(
        lambda: (
            (found := json.loads(shop.manage("verify", "--at-rest", "--json").stdout))["violations"] == [] and found
        ),
    )


def await_sales(buyers: Buyers, more: int = 5) -> None:
    """Wait until the buyers have placed some more orders."""
    before = len(buyers.orders)
    eventually(lambda: len(buyers.orders) >= before + more)


def assert_nothing_lost(shop: MovingShop, buyers: Buyers) -> None:
    assert buyers.errors == []
    assert len(set(buyers.orders.values())) == len(buyers.orders)
    with connect_as_administrator(parse_postgres_url("where", database_url_of(shop, "orders"))) as orders:
        kept = orders.execute("SELECT count(*) FROM orders_order WHERE id = ANY(%s)", [list(buyers.orders.values())])
        assert kept.fetchone() == (len(buyers.orders),)
    verify_when_idle(shop)


def connect_to_directory(shop: MovingShop) -> psycopg.Connection:
    return connect_as_administrator(parse_postgres_url("old", shop.old.url), f"{PREFIX}_directory")


def database_url_of(shop: MovingShop, context: str) -> str:
    """Return the administrator's URL of a context's database."""
    _, database, _ = binding_of(shop, context) or (1, f"{PREFIX}_{context}", False)
    server = shop.old if database.startswith(PREFIX) else shop.new
    return server.url.replace("/postgres?", f"/{database}?")


def binding_of(shop: MovingShop, context: str) -> tuple:
    """Return epoch and database of a context, and whether it is moving, from the directory."""
    with connect_to_directory(shop) as directory:
        return directory.execute("SELECT epoch, dbname, moving FROM binding WHERE context = %s", [context]).fetchone()
