"""The base view and the field types of inventory's endpoints."""

from typing import Annotated

import msgspec

from shop import sizes
from shop.http import rest
from shop.money import MAX_AMOUNT

Slug = Annotated[
    str,
    msgspec.Meta(
        max_length=sizes.SLUG_LENGTH,
        pattern=r"^[-a-zA-Z0-9_]+$(?!\n)",
        extra={"expected": "letters, digits, hyphens and underscores"},
    ),
]
Amount = Annotated[int, msgspec.Meta(ge=0, le=MAX_AMOUNT)]


class InventoryView(rest.View):
    """Base of the views of inventory."""

    context = "inventory"
