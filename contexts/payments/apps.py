from django.apps import AppConfig


class PaymentsConfig(AppConfig):
    name = "contexts.payments"
    label = "payments"

    def ready(self) -> None:
        from contexts.payments import handlers  # noqa: F401 - they register themselves
