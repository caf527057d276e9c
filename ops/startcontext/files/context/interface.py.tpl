"""Interface of $context for other contexts."""

from datetime import datetime
from typing import Protocol
from uuid import UUID

from shop.calls.services import DTO, idempotent, read, service


class $Noun(DTO):
    """$A_noun and the user to whom it belongs."""

    id: UUID
    user_id: UUID
    reference: str  # unique among the $context of a user
    text: str
    created_at: datetime
    processed_at: datetime | None = None


class $Context(Protocol):
    """$Context of users. The business key of $a_noun is its user and its reference."""

    @read
    def get_$context(self, *, ids: tuple[UUID, ...]) -> tuple[$Noun, ...]:
        """Return these $context. Unknown ids are omitted."""

    @idempotent
    def create_$noun(self, *, user_id: UUID, reference: str, text: str) -> $Noun:
        """Create $a_noun. A repeat for the same user and reference returns the first one."""


$context: $Context = service("$context", $Context)
