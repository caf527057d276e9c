from django.apps import AppConfig


class OrdersConfig(AppConfig):
    name = "contexts.orders"
    label = "orders"

    def ready(self) -> None:
        from contexts.orders import handlers
