"""The app of operations: commands, pages of the admin over several contexts, and the checks of the databases at start."""

from django.apps import AppConfig


class OpsConfig(AppConfig):
    """Register the checks of the databases."""

    name = "ops"

    def ready(self) -> None:
        from ops import connection_checks, database_checks
