from django.apps import AppConfig
from django.conf import settings

from shop import services


class ShopConfig(AppConfig):
    name = "shop"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        services.configure(settings.SERVICES, settings.TRANSPORT)
