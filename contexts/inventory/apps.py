from django.apps import AppConfig


class InventoryConfig(AppConfig):
    name = "contexts.inventory"
    label = "inventory"

    def ready(self) -> None:
        from contexts.inventory import handlers
