"""Use cases of inventory."""

from contexts.inventory.interface import Inventory


class LocalInventory(Inventory):
    """The use cases, in this process."""
