"""The audit trail of each context, in its own database: who changed what. Append-only."""

from django.db.models import QuerySet
from psycopg.types.json import Jsonb

from shop.db.database import execute
from shop.models import AuditEntry
from shop.security_events import AUTHZ_ADMIN, SecurityEvent
from shop.security_log import hash_email, log_after_commit


def audit(
    alias: str,
    event: SecurityEvent = AUTHZ_ADMIN,
    /,
    *,
    actor: str,
    action: str,
    object_type: str,
    object_id: object,
    **detail: object,
) -> None:
    """Record a privileged change. Call it in the transaction of the change, so that both are committed or neither.

    event: what the security log has, once the transaction is committed; without `detail`, which may be personal data.
    """
    execute(
        alias,
        "INSERT INTO shop_auditentry (actor, action, object_type, object_id, detail) VALUES (%s, %s, %s, %s, %s)",
        [actor, action, object_type, str(object_id), Jsonb(detail)],
    )
    log_change(alias, actor=actor, action=action, object_type=object_type, object_id=str(object_id), event=event)


def log_change(
    alias: str,
    *,
    actor: str,
    action: str,
    object_type: str,
    object_id: str | None = None,
    event: SecurityEvent = AUTHZ_ADMIN,
    count: int = 1,
) -> None:
    """Write a privileged change to the security log, once the open transaction is committed.

    An actor with an e-mail address is logged as its hash: work in the background knows no account id.
    count: of the objects, if they are many.
    """
    who = {"actor_hash": hash_email(actor)} if "@" in actor else {"actor": actor}
    what = {"context": alias, "action": action, "object_type": object_type, "object_id": object_id}
    log_after_commit(alias, event, reason=action.replace(" ", "_"), count=count, **what, **who)


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
