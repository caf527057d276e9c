"""Build $context for tests."""

from typing import Any
from uuid import UUID, uuid4

from contexts.$context.interface import $Noun, $context
from tests.shopper import InProcessShopper


def create_customer() -> InProcessShopper:
    """Return a client of a new customer who is signed in."""
    customer = InProcessShopper()
    customer.register()
    return customer


def create_$noun(user_id: UUID | None = None, **changes: str) -> $Noun:
    """Create $a_noun through the interface."""
    return $context.create_$noun(user_id=user_id or uuid4(), **build_body(**changes))


def build_body(**changes: str) -> dict[str, Any]:
    """Return the body of a request that creates $a_noun."""
    return {"reference": uuid4().hex, "text": "An example.", **changes}
