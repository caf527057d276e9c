"""Prepared statements for a process that runs the same checks again and again, as the tests do.

Planning the statements takes several times as long as running them against small tables. A statement is prepared once per
connection, and PostgreSQL keeps its plan.
"""

import re
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

from django.db import connections

PARAMETER = re.compile(r"%\((\w+)\)s|%%")
TYPES = {"grace": "interval", "late": "interval", "is_idle": "boolean", "currency": "text", "context": "text"}

_names: WeakKeyDictionary[Any, dict[str, str]] = WeakKeyDictionary()  # by connection: the name of each statement


def fetch_prepared(context: str, sql: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Run a statement with parameters named as in TYPES, and return all its rows."""
    with connections[context].cursor() as cursor:
        names = _names.setdefault(connections[context].connection, {})
        if sql not in names:
            name = f"verify_{len(names)}"
            cursor.execute(f"PREPARE {name} ({', '.join(TYPES.values())}) AS {_with_positions(sql)}")
            names[sql] = name
        cursor.execute(
            f"EXECUTE {names[sql]} ({', '.join(['%s'] * len(TYPES))})", [parameters.get(name) for name in TYPES]
        )
        return cursor.fetchall()


def _with_positions(sql: str) -> str:
    """Replace named parameters by positions, as PREPARE wants them."""
    positions = {name: f"${position}" for position, name in enumerate(TYPES, start=1)}
    return PARAMETER.sub(lambda found: positions[found[1]] if found[1] else "%", sql)
