from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Tags, register

from shop.contexts import ContextConfig


class InventoryConfig(ContextConfig):
    """Inventory, and the check of its prices at start."""

    name = "contexts.inventory"
    is_needed_to_sell = True

    def ready(self) -> None:
        super().ready()
        register(check_currency, Tags.database)


def check_currency(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Refuse prices in another currency than CURRENCY. A warning if they cannot be read: each sale compares anyway."""
    from contexts.inventory.service.currency import find_problems

    return find_problems() if "inventory" in (databases or ()) else []
