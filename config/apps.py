"""The apps of the composition root: the admin, and the checks at start."""

from django.apps import AppConfig
from django.conf import settings
from django.contrib.admin.apps import AdminConfig as DjangoAdminConfig


class AdminConfig(DjangoAdminConfig):
    default_site = "config.admin_site.Site"

    def ready(self) -> None:
        super().ready()
        from django.contrib import admin
        from django.contrib.auth.models import Group

        admin.site.unregister(Group)  # it has no table: permissions are in the tokens that users signs


class SatsumaConfig(AppConfig):
    """Register the checks at start, and arm injected faults."""

    name = "config"

    def ready(self) -> None:
        from config import checks
        from contexts.users.interface import users
        from shop.chaos import faults
        from shop.http import present_permissions

        present_permissions.set_reader(
            lambda user_id, session_id: users.present_permissions(user_id=user_id, session_id=session_id)
        )

        if settings.CHAOS or settings.CHAOS_RECORD:
            faults.arm(settings.CHAOS, seed=settings.CHAOS_SEED, record=settings.CHAOS_RECORD)
