from django.apps import AppConfig


class UsersConfig(AppConfig):
    name = "contexts.users"
    label = "users"

    def ready(self) -> None:
        from contexts.users import handlers
