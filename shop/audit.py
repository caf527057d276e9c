"""The audit trail of each context, in its own database: who changed what. Append-only."""

from django.db.models import QuerySet
from psycopg.types.json import Jsonb

from shop.db.database import execute
from shop.models import AuditEntry


def audit(alias: str, *, actor: str, action: str, object_type: str, object_id: object, **detail: object) -> None:
    """Record a privileged change. Call it in the transaction of the change, so that both are committed or neither."""
    execute(
        alias,
        "INSERT INTO shop_auditentry (actor, action, object_type, object_id, detail) VALUES (%s, %s, %s, %s, %s)",
        [actor, action, object_type, str(object_id), Jsonb(detail)],
    )


def list_object_history(alias: str, object_type: str, object_id: object) -> list[AuditEntry]:
    """Return the changes of one object, latest first."""
    return list(_select_entries(alias, object_type, object_id))


def find_latest_change(alias: str, object_type: str, object_id: object) -> AuditEntry | None:
    """Return the latest change of one object, if any was recorded."""
    return _select_entries(alias, object_type, object_id).first()


def _select_entries(alias: str, object_type: str, object_id: object) -> QuerySet[AuditEntry]:
    entries = AuditEntry.objects.using(alias).filter(object_type=object_type, object_id=str(object_id))
    return entries.order_by("-at", "-id")


def list_latest(alias: str, limit: int = 10) -> list[AuditEntry]:
    """Return the latest changes in a context."""
    return list(AuditEntry.objects.using(alias).order_by("-at", "-id")[:limit])
