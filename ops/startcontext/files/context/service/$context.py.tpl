"""Create and read $context."""

from collections.abc import Iterable
from uuid import UUID

from django.db.models import QuerySet
from django.db.models.functions import Now

from contexts.$context import interface
from contexts.$context.events import ${Noun}Created
from contexts.$context.models import $Noun
from shop.db.database import execute, transaction
from shop.errors import NotFound
from shop.ids import uuid7
from shop.messaging.outbox import publish

ALIAS = "$context"

# The unique constraint decides between concurrent requests: only one of them inserts the row.
_INSERT_SQL = """
INSERT INTO ${context}_$noun (id, user_id, reference, text, sequence) VALUES (%s, %s, %s, %s, 1)
ON CONFLICT (user_id, reference) DO NOTHING"""


class ${Noun}NotFound(NotFound):
    """There is no such $noun."""


def create_$noun(*, user_id: UUID, reference: str, text: str) -> interface.$Noun:
    """Create $a_noun and publish ${Noun}Created. If the user has one with this reference, return that one instead."""
    with transaction(ALIAS):
        is_new = execute(ALIAS, _INSERT_SQL, [uuid7(), user_id, reference, text])
        row = $Noun.objects.get(user_id=user_id, reference=reference)
        if is_new:
            publish(${Noun}Created(${noun}_id=row.id, user_id=user_id, reference=reference), row=row)
    return _to_dto(row)


def mark_processed(${noun}_id: UUID) -> None:
    """Record when $a_noun was processed. A repeat changes nothing."""
    with transaction(ALIAS):
        $Noun.objects.filter(id=${noun}_id, processed_at=None).update(processed_at=Now())


def find_$context(ids: tuple[UUID, ...]) -> tuple[interface.$Noun, ...]:
    """Return the $context with these ids. Unknown ids are omitted."""
    return tuple(to_dtos($Noun.objects.filter(id__in=ids)))


def list_$context(user_id: UUID) -> QuerySet[$Noun]:
    """Return the rows of a user, to be paginated."""
    return $Noun.objects.filter(user_id=user_id)


def get_$noun(${noun}_id: UUID, *, user_id: UUID) -> interface.$Noun:
    """Return $a_noun of a user. Raises ${Noun}NotFound if there is none, or if it belongs to another user."""
    row = $Noun.objects.filter(id=${noun}_id, user_id=user_id).first()
    if row is None:
        raise ${Noun}NotFound
    return _to_dto(row)


def to_dtos(rows: Iterable[$Noun]) -> list[interface.$Noun]:
    """Return rows as other contexts and the REST API see them."""
    return [_to_dto(row) for row in rows]


def _to_dto(row: $Noun) -> interface.$Noun:
    return interface.$Noun(
        id=row.id,
        user_id=row.user_id,
        reference=row.reference,
        text=row.text,
        created_at=row.created_at,
        processed_at=row.processed_at,
    )
