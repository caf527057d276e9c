"""Create past orders in both shops.

Those of Satsuma are copies of real ones. Some are placed over HTTP, and then every row that they left in any table of the
five databases is written many times, each time with new ids and a new order number. So all rows of an order exist as the
shop itself writes them, and stock and ledger still balance.
"""

from concurrent.futures import ThreadPoolExecutor

from psycopg import sql

from bench import measure
from bench.operations import LINES, VARIANTS
from bench.systems import Control, Satsuma, System

PATTERN_ORDERS = 50  # orders that are placed over HTTP; all others are copies of these

# The end of each UUID, with or without hyphens, is replaced by the number of the copy, in each table alike, so that
# references stay valid. Its version becomes 8 ("custom", RFC 9562), which no real one has. The end of the order number is
# replaced likewise; the copies can contain a 0, which is not in the alphabet of real numbers.
_MARKED = r"""
SELECT regexp_replace(regexp_replace((to_jsonb(pattern) {bodies})::text,
    '(?<![0-9a-f])([0-9a-f]{{8}}-?[0-9a-f]{{4}}-?)[47]([0-9a-f]{{3}}-?[89ab][0-9a-f]{{3}}-?[0-9a-f]{{7}})[0-9a-f]{{5}}(?![0-9a-f])',
    '\18\2<id>', 'g'),
    '(\\?"number\\?": ?\\?"\w{{5}})\w{{5}}', '\1<no>', 'g') AS marked
FROM {table} pattern OFFSET 0"""

_COPY = """
INSERT INTO {table} ({columns})
SELECT {ours} FROM (""" + _MARKED + """) patterns
     CROSS JOIN (SELECT lpad(to_hex(n), 5, '0') AS id FROM generate_series(1, %s) AS n OFFSET 0) copies
     CROSS JOIN LATERAL jsonb_populate_record(NULL::{table},
         replace(replace(marked, '<id>', copies.id), '<no>', upper(copies.id))::jsonb) AS ours"""  # fmt: skip

# These belong to no order.
_TABLES = (
    "SELECT relname FROM pg_stat_user_tables WHERE relname NOT IN ('shop_callcount', 'shop_ratelimit', 'shop_purge')"
)
_COLUMNS = """
SELECT column_name, data_type = 'bytea' FROM information_schema.columns
WHERE table_schema = 'public' AND table_name = %s AND is_identity = 'NO' AND is_generated = 'NEVER'"""

# The initial stock includes the units that the copied orders sold.
_BALANCE = """
UPDATE inventory_stock SET initial = on_hand - moved
FROM (SELECT sku, sum(quantity) AS moved FROM inventory_stockmovement GROUP BY sku) movements
WHERE movements.sku = inventory_stock.sku"""

_CONTROL = (
    """INSERT INTO control_order (id, number, email, status, total, currency, shipping_address, created_at)
       SELECT n, 'H' || n, 'guest@example.com', 'confirmed', 4500, 'EUR', '{"city": "Berlin"}', now()
       FROM generate_series(1, %(orders)s) n""",
    """INSERT INTO control_orderline (order_id, variant_id, name, quantity, unit_price, total)
       SELECT n, 1 + (n * 31 + line * 7) %% %(variants)s, 'Product, Size', 1, 1500, 1500
       FROM generate_series(1, %(orders)s) n, generate_series(1, %(lines)s) line""",
    """INSERT INTO control_payment (order_id, provider, token, status, amount)
       SELECT n, 'sandbox', 'tok_ok', 'captured', 4500 FROM generate_series(1, %(orders)s) n""",
    """INSERT INTO control_notification (order_id, "to", template, is_sent)
       SELECT n, 'guest@example.com', 'order_confirmed', false FROM generate_series(1, %(orders)s) n""",
    "SELECT setval(pg_get_serial_sequence('control_order', 'id'), %(orders)s)",
)


def create_past_orders(system: System, orders: int) -> None:
    """Create at least this many orders in a running system, and update its planner statistics."""
    if orders and isinstance(system, Satsuma):
        before = _sizes(system)
        _place_patterns(system)
        grown = [place for place, rows in _sizes(system).items() if rows > before[place]]
        with ThreadPoolExecutor() as pool:
            list(
                pool.map(
                    lambda database: _multiply(system, database, grown, orders // PATTERN_ORDERS - 1), system.databases
                )
            )
    elif orders and isinstance(system, Control):
        connection = system.connections[system.databases[0]]
        for statement in _CONTROL:
            connection.execute(statement, {"orders": orders, "variants": system.products * VARIANTS, "lines": LINES})
    for connection in system.connections.values():
        connection.execute("VACUUM ANALYZE")


def _sizes(system: Satsuma) -> dict[tuple[str, str], int]:
    """Count the rows of each table, by database and table."""
    tables = [
        (name, table) for name, link in system.connections.items() for (table,) in link.execute(_TABLES).fetchall()
    ]
    return {place: system.count(place[0], f'SELECT count(*) FROM "{place[1]}"') for place in tables}


def _place_patterns(system: Satsuma) -> None:
    measure.load(system, "orders", clients=2, seconds=60, seed=7, limit=PATTERN_ORDERS)
    system.settle()
    system.await_receipts()


def _decode_bytes(column: str) -> sql.Composed:
    """Decode a column of bytes, such as a stored response, to text, so that the ids in it are found."""
    text = "|| jsonb_build_object({name}, replace(convert_from({column}, 'UTF8'), '\\', '\\\\'))"
    return sql.SQL(text).format(name=sql.Literal(column), column=sql.Identifier(column))


def _multiply(system: Satsuma, database: str, grown: list[tuple[str, str]], copies: int) -> None:
    """Copy the rows of one database in one transaction, without triggers and foreign keys, which the originals passed."""
    connection = system.connections[database]
    with connection.transaction():
        connection.execute("SET LOCAL session_replication_role = replica")
        for table in (table for where, table in grown if where == database):
            columns = connection.execute(_COLUMNS, [table]).fetchall()
            names = [sql.Identifier(name) for name, _ in columns]
            statement = sql.SQL(_COPY).format(
                table=sql.Identifier(table),
                bodies=sql.SQL(" ").join(_decode_bytes(name) for name, is_bytes in columns if is_bytes),
                columns=sql.SQL(", ").join(names),
                ours=sql.SQL(", ").join(sql.SQL("ours.{}").format(name) for name in names),
            )
            connection.execute(statement, [copies])
        if database == system.name_database("inventory"):
            connection.execute(_BALANCE)
