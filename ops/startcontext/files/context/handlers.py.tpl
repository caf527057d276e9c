"""Event handlers and timers of $context."""

from contexts.$context.events import ${Noun}Created
from contexts.$context.service import $context
from shop.messaging.events import on


@on(${Noun}Created)
def process_$noun(event: ${Noun}Created) -> None:
    """Process a new $noun, outside the request that created it."""
    $context.mark_processed(event.${noun}_id)
