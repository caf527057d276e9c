from django.apps import AppConfig


class NotificationsConfig(AppConfig):
    name = "contexts.notifications"
    label = "notifications"

    def ready(self) -> None:
        from contexts.notifications import handlers
