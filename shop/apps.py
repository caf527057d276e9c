"""The kernel's Django app: binds the service interfaces when Django has loaded."""

from django.apps import AppConfig
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from shop.calls import methods, services

BATCH_INTERVAL_SECONDS = 1.0  # between two slices of batch jobs


class ShopConfig(AppConfig):
    """Set up the remote transport, outage handling and the bindings of SERVICES."""

    name = "shop"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from django.db import InterfaceError, OperationalError

        from shop import batch, purging, security_log
        from shop.calls.remote.client import bind_remote
        from shop.db.database import close_broken_connections
        from shop.messaging import engine

        services.set_remote_transport(bind_remote)
        methods.set_outage_errors((OperationalError, InterfaceError), close_broken_connections)
        engine.kernel_timers["batch"] = (BATCH_INTERVAL_SECONDS, batch.run_due)
        engine.kernel_timers["forget"] = (purging.RUN_INTERVAL_SECONDS, purging.purge_due)
        for path in settings.SECURITY_EVENT_RECEIVERS:
            security_log.connect_receiver(path)
        try:
            services.configure(settings.SERVICES, settings.TRANSPORT)
        except ValueError as error:
            raise ImproperlyConfigured(str(error)) from None
