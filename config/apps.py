from django.apps import AppConfig
from django.conf import settings
from django.contrib.admin.apps import AdminConfig as DjangoAdminConfig


class AdminConfig(DjangoAdminConfig):
    default_site = "config.admin.Site"

    def ready(self) -> None:
        super().ready()
        from django.contrib import admin
        from django.contrib.auth.models import Group

        admin.site.unregister(Group)  # it has no table here: permissions are in the tokens that users signs


class SatsumaConfig(AppConfig):
    """The composition root as an app: its commands, and the checks that refuse a wrong start."""

    name = "config"

    def ready(self) -> None:
        from config import checks, faults

        if settings.CHAOS or settings.CHAOS_RECORD:
            faults.arm(settings.CHAOS, seed=settings.CHAOS_SEED, record=settings.CHAOS_RECORD)
