"""What five databases hold, said so that two shops with the same history say the same.

Ids are replaced by what they are the ids of (`payment of order of ada@example.com`), instants by whether there is one,
and what depends on chance or on how often somebody looked is left out. A row is a line of JSON; lines are sorted.
"""

import hashlib
import json
import re
from typing import Any

from django.conf import settings

from shop.database import rows

NOT_A_STATE = {
    "django_migrations", "django_content_type",
    "inventory_catalogueversion",  # counts writes of a catalogue's rows on random shards
    "shop_callcount",  # written every few seconds, of what there was by then
    "users_signinattempts",  # forgets by the clock
}  # fmt: skip
CHANCE = {"id", "number", "message_id", "digest", "password", "fingerprint", "scope", "document"}
WORK = {  # how often it was tried, by whom, and when the next look is
    "attempt", "attempts", "confirms", "captures", "due_at", "lease_until", "starts", "tries", "woken",
}  # fmt: skip

# What a row is called: by a name of its own, or by whose it is. In this order: a name may hold those before it.
NAMES = {
    "users_user": "user {email}",
    "users_tokenfamily": "session of {user_id}",
    "inventory_category": "category {slug}",
    "inventory_product": "product {slug}",
    "orders_cart": "cart of {user_id}",
    "orders_order": "order of {email}",
    "payments_payment": "payment of {order_id}",
    "payments_refund": "refund of {amount} of {payment_id}",
    "shop_outboxevent": "fact {sequence} of {stream}",
    "notifications_message": "{channel} {template} {sequence} about {subject_id}",
}

ID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}")
INSTANT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.\d]*(Z|[+-]\d\d(:?\d\d)?)?")
PARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")

Rows = dict[str, list[dict[str, Any]]]  # by "context.table"


def canonical() -> dict[str, list[str]]:
    """The lines of each table, by `context.table`."""
    found = {f"{context}.{table}": held for context in settings.ALL_CONTEXTS for table, held in tables(context).items()}
    names = Names(found)
    return {table: sorted(names.line(row) for row in held) for table, held in sorted(found.items())}


def tables(context: str) -> Rows:
    named = rows(context, "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename")
    return {
        table: [json.loads(row) for (row,) in rows(context, f"SELECT to_json(row)::text FROM {table} AS row")]
        for (table,) in named if table not in NOT_A_STATE
    }  # fmt: skip


class Names:
    """What ids and the numbers of orders are called."""

    def __init__(self, found: Rows) -> None:
        self.of: dict[str, str] = {}
        self.numbers: dict[str, str] = {}
        for kind, pattern in NAMES.items():
            for table, held in found.items():
                if table.endswith(f".{kind}"):
                    for row in held:
                        self._name(row, pattern)

    def _name(self, row: dict[str, Any], pattern: str) -> None:
        name = pattern.format_map({column: self.said(str(value)) for column, value in row.items()})
        self.of.setdefault(row["id"].replace("-", ""), name)
        if "number" in row:
            self.numbers[row["number"]] = f"number of {name}"

    def said(self, text: str) -> str:
        """A text without chance in it."""
        text = INSTANT.sub("<instant>", PARENT.sub("<traceparent>", text))
        text = ID.sub(lambda found: f"<{self.of.get(found[0].replace('-', ''), 'some id')}>", text)
        for number, name in self.numbers.items():
            text = text.replace(number, f"<{name}>")
        return text

    def line(self, row: dict[str, Any]) -> str:
        kept = {column: value for column, value in row.items() if column not in CHANCE | WORK}
        if kept.get("body"):
            kept["body"] = bytes.fromhex(kept["body"].removeprefix("\\x")).decode()
        called = {"is": self.of[row["id"].replace("-", "")]} if isinstance(row.get("id"), str) else {}
        return self.said(json.dumps(called | kept, sort_keys=True, ensure_ascii=False))


def hashes(state: dict[str, list[str]]) -> dict[str, str]:
    """Of each table: how many rows, and their hash; of all, one."""
    found = {table: f"{len(lines)} {_hash(lines)}" for table, lines in state.items() if lines}
    return found | {"all": _hash(f"{table} {said}" for table, said in found.items())}


def _hash(lines: Any) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:32]
