from shop.contexts import ContextConfig


class NotificationsConfig(ContextConfig):
    name = "contexts.notifications"
