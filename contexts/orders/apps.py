from shop.contexts import ContextConfig


class OrdersConfig(ContextConfig):
    name = "contexts.orders"
