"""The canonical state of the five databases: the same text for two shops with the same history.

Ids are replaced by names (`payment of order of ada@example.com`), points in time by a placeholder, and columns that depend on
chance or on the number of attempts are left out. A row is a line of JSON; lines are sorted.
"""

import hashlib
import json
import re
from typing import Any

from django.conf import settings

from shop.db.database import fetch_rows

EXCLUDED_TABLES = {
    "django_migrations", "django_content_type",
    "inventory_catalogueversion",  # counts writes of catalogue rows on random shards
    "shop_callcount",  # written every few seconds
    "shop_purge",  # written by each run
    "shop_ratelimit",  # entries expire
    "shop_receivedcall",  # entries expire
    "users_signinattempts",  # entries expire
}  # fmt: skip
RANDOM_COLUMNS = {"id", "number", "message_id", "digest", "password", "fingerprint", "scope", "document"}
RETRY_COLUMNS = {  # attempts, leases and due times
    "attempt", "attempts", "check_at", "checked_at", "confirms", "captures", "due_at", "lease_until", "starts",
    "tries", "woken",
}  # fmt: skip

POLL_COUNTERS = {"payments_payment": "version"}  # also raised when the provider is asked, which time decides

# The names of rows, in this order: a name may contain those before it.
NAME_PATTERNS = {
    "users_user": "user {email}",
    "users_tokenfamily": "session of {user_id}",
    "inventory_category": "category {slug}",
    "inventory_product": "product {slug}",
    "orders_cart": "cart of {user_id}",
    "orders_order": "order of {email}",
    "payments_payment": "payment of {order_id}",
    "payments_refund": "refund of {amount} of {payment_id}",
    "shop_outboxevent": "event {sequence} of {stream}",
    "notifications_message": "{channel} {template} {sequence} about {subject_id}",
}

ID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}")
INSTANT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.\d]*(Z|[+-]\d\d(:?\d\d)?)?")
TRACEPARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")

Rows = dict[str, list[dict[str, Any]]]  # by "context.table"


def load_canonical_state() -> dict[str, list[str]]:
    """Return the lines of each table, by `context.table`."""
    found = {f"{context}.{table}": rows for context in settings.ALL_CONTEXTS for table, rows in tables(context).items()}
    names = NameMap(found)
    return {table: sorted(names.build_line(row) for row in rows) for table, rows in sorted(found.items())}


def tables(context: str) -> Rows:
    named = fetch_rows(context, "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename")
    return {
        table: [
            json.loads(row) for (row,) in fetch_rows(
                context, f"SELECT (to_jsonb(row) - %s)::text FROM {table} AS row", [POLL_COUNTERS.get(table, "")]
            )
        ]
        for (table,) in named if table not in EXCLUDED_TABLES
    }  # fmt: skip


class NameMap:
    """The names of ids and of order numbers."""

    def __init__(self, found: Rows) -> None:
        self.of: dict[str, str] = {}
        self.numbers: dict[str, str] = {}
        for kind, pattern in NAME_PATTERNS.items():
            for table, rows in found.items():
                if table.endswith(f".{kind}"):
                    for row in rows:
                        self._name(row, pattern)

    def _name(self, row: dict[str, Any], pattern: str) -> None:
        name = pattern.format_map({column: self.normalize(str(value)) for column, value in row.items()})
        self.of.setdefault(row["id"].replace("-", ""), name)
        if "number" in row:
            self.numbers[row["number"]] = f"number of {name}"
            self.numbers[row["number"].lower()] = f"number of {name} in lower case"

    def normalize(self, text: str) -> str:
        """Replace ids, points in time and order numbers in a text."""
        text = INSTANT.sub("<instant>", TRACEPARENT.sub("<traceparent>", text))
        text = ID.sub(lambda found: f"<{self.of.get(found[0].replace('-', ''), 'unknown id')}>", text)
        for number, name in self.numbers.items():
            text = text.replace(number, f"<{name}>")
        return text

    def build_line(self, row: dict[str, Any]) -> str:
        kept = {column: value for column, value in row.items() if column not in RANDOM_COLUMNS | RETRY_COLUMNS}
        if kept.get("body"):
            kept["body"] = bytes.fromhex(kept["body"].removeprefix("\\x")).decode()
        name = {"is": self.of[row["id"].replace("-", "")]} if isinstance(row.get("id"), str) else {}
        return self.normalize(json.dumps(name | kept, sort_keys=True, ensure_ascii=False))


def hashes(state: dict[str, list[str]]) -> dict[str, str]:
    """Return the number of rows of each table with their hash, and one hash of all tables."""
    found = {table: f"{len(lines)} {_hash(lines)}" for table, lines in state.items() if lines}
    return found | {"all": _hash(f"{table} {text}" for table, text in found.items())}


def _hash(lines: Any) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:32]
