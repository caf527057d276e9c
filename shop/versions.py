"""Optimistic versions: a change is refused if the row was changed after its reader had read it.

The version of a row is a hash of the values that a reader sees. A form sends it back in a hidden field, a client of the
API in `If-Match` (RFC 9110, 13.1.1). It needs no column, so that every writer changes it, an older release included.
"""

import hashlib
import json
from collections.abc import Iterable

from django.db.models import Model

from shop import audit
from shop.errors import PreconditionFailed

VERSION_LENGTH = 32  # hexadecimal digits


def compute_version(*values: object) -> str:
    """Return a hash of these values."""
    return hashlib.sha256(json.dumps(values, default=str).encode()).hexdigest()[:VERSION_LENGTH]


def compute_row_version(row: Model, fields: Iterable[str]) -> str:
    """Return the version of a row: a hash of its primary key and of these fields."""
    columns = {field.name: field.attname for field in row._meta.concrete_fields}
    return compute_version(row.pk, *((name, getattr(row, columns[name])) for name in fields))


def assert_version(alias: str, object_type: str, object_id: object, *, current: str, expected: str) -> None:
    """Raise PreconditionFailed, with the latest change of the audit trail, unless the row has the expected version.

    expected: one version, or several with commas between them; empty if the caller has read none, and then nothing is
    checked. Call it in the transaction of the change, after the row was locked.
    """
    if not expected or current in expected.split(","):
        return
    latest = audit.find_latest_change(alias, object_type, object_id)
    if latest is None:
        raise PreconditionFailed
    at = latest.at.isoformat(timespec="seconds").replace("+00:00", "Z")
    raise PreconditionFailed(changed_by=latest.actor, changed_at=at)
