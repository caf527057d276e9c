"""Use cases of $context."""

from uuid import UUID

from contexts.$context.interface import $Context, $Noun
from contexts.$context.service import $context


class Local$Context($Context):
    """Implement the interface of $context in this process."""

    def get_$context(self, *, ids: tuple[UUID, ...]) -> tuple[$Noun, ...]:
        return $context.find_$context(ids)

    def create_$noun(self, *, user_id: UUID, reference: str, text: str) -> $Noun:
        return $context.create_$noun(user_id=user_id, reference=reference, text=text)
