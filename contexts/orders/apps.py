from shop.contexts import ContextConfig


class OrdersConfig(ContextConfig):
    name = "contexts.orders"
    is_needed_to_sell = True
