from django.apps import AppConfig
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from shop import services


class ShopConfig(AppConfig):
    name = "shop"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from django.db import InterfaceError, OperationalError

        from shop import remote
        from shop.database import drop_broken_connections

        services.reach_by(remote.reach)
        services.on_outage((OperationalError, InterfaceError), drop_broken_connections)
        try:
            services.configure(settings.SERVICES, settings.TRANSPORT)
        except ValueError as error:
            raise ImproperlyConfigured(str(error)) from None
