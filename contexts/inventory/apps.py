from shop.contexts import ContextConfig


class InventoryConfig(ContextConfig):
    name = "contexts.inventory"
