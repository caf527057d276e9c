"""The database router: the tables of an app are in the database whose alias is the name of the app."""

from django.conf import settings
from django.db.models import Model

from shop.db.database import hosted_contexts

APPS_IN_EVERY_DATABASE = {"shop", "contenttypes"}  # apps whose tables exist in every alias


class Router:
    """Route each app to its alias. Other apps get the empty alias `default`, on which every statement fails."""

    def _get_alias(self, app_label: str) -> str | None:
        if app_label in settings.DATABASES:
            return app_label
        return hosted_contexts()[0] if app_label in APPS_IN_EVERY_DATABASE else None

    def db_for_read(self, model: type[Model], **hints: object) -> str | None:
        return self._get_alias(model._meta.app_label)

    db_for_write = db_for_read

    def allow_relation(self, one: Model, other: Model, **hints: object) -> bool:
        return one._meta.app_label == other._meta.app_label

    def allow_migrate(self, db: str, app_label: str, **hints: object) -> bool:
        return app_label in APPS_IN_EVERY_DATABASE or app_label == db
