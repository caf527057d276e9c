"""Events of $context."""

from uuid import UUID

from shop.messaging.events import Event


class ${Noun}Event(Event, stream="$context.$noun:{${noun}_id}"):
    """Something happened to $a_noun."""

    ${noun}_id: UUID


class ${Noun}Created(${Noun}Event, name="$context.${noun}_created", version=1):
    """$A_noun was created."""

    user_id: UUID
    reference: str
