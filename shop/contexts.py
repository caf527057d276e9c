"""The base class of a context's app. It registers what the context declares in modules with fixed names."""

from importlib import import_module
from typing import Any

from django.apps import AppConfig, apps
from django.core.exceptions import ImproperlyConfigured
from django.urls import URLPattern, URLResolver, include, path
from django.utils.module_loading import module_has_submodule

from shop.permissions import get_registered_permissions

API_PREFIX = "api/v1/"
# Modules that register their content when they are imported, in this order. A context may lack any of them.
REGISTERED_MODULES = ("handlers", "schedules")
PERMISSION_MODULES = ("rest", "admin")  # that register the permissions which they check


class ContextConfig(AppConfig):
    """Register a context: its event handlers, its timers and its URLs.

    The name of the context is the last part of `name` and the alias of its database. The class that implements its
    interface is `service.Local<Name>`, its own settings are in `settings.py`: config/settings finds both by these names.
    """

    # Whether no order can be placed without the context's database. /ready is 503 then.
    is_needed_to_sell = False

    default = False  # Django must not mistake the base class for the app's own configuration

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        cls.default = True

    def ready(self) -> None:
        """Import the modules that register handlers and timers."""
        for module in REGISTERED_MODULES:
            if module_has_submodule(self.module, module):
                import_module(f"{self.name}.{module}")

    def build_urlpatterns(self) -> list[URLPattern | URLResolver]:
        """Return the URLs of the context's API, and those at a fixed place of the site, such as /.well-known/."""
        rest = import_module(f"{self.name}.rest")
        return [path(API_PREFIX, include((rest.urlpatterns, self.label))), *getattr(rest, "site_urlpatterns", [])]


def list_permissions() -> list[str]:
    """Return every permission that staff can have in this shop, whichever contexts this process hosts."""
    for config in apps.get_app_configs():
        if isinstance(config, ContextConfig):
            for module in PERMISSION_MODULES:
                if module_has_submodule(config.module, module):
                    import_module(f"{config.name}.{module}")
    return sorted(get_registered_permissions())


def get_context_config(context: str) -> ContextConfig:
    """Return the configuration of a context. Raises ImproperlyConfigured if its apps.py does not define one."""
    config = apps.get_app_config(context)
    if not isinstance(config, ContextConfig):
        raise ImproperlyConfigured(
            f"contexts/{context}/apps.py has to define a subclass of shop.contexts.ContextConfig"
        )
    return config
