"""The audit trail: who changed what, in the database of the context that was changed. Append-only."""

from typing import Any

from psycopg.types.json import Jsonb

from shop.database import changed
from shop.models import AuditEntry


def audit(alias: str, *, actor: str, action: str, object_type: str, object_id: Any, **detail: Any) -> None:
    """Record a privileged change. Called inside the transaction of the change, so that neither is without the other."""
    changed(
        alias,
        "INSERT INTO shop_auditentry (actor, action, object_type, object_id, detail) VALUES (%s, %s, %s, %s, %s)",
        [actor, action, object_type, str(object_id), Jsonb(detail)],
    )


def trail(alias: str, object_type: str, object_id: Any) -> list[AuditEntry]:
    """What was done to one object, the latest first."""
    entries = AuditEntry.objects.using(alias).filter(object_type=object_type, object_id=str(object_id))
    return list(entries.order_by("-at", "-id"))


def latest(alias: str, limit: int = 10) -> list[AuditEntry]:
    """What was done last in a context."""
    return list(AuditEntry.objects.using(alias).order_by("-at", "-id")[:limit])
