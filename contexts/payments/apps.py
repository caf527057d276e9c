from django.apps import AppConfig
from django.conf import settings


class PaymentsConfig(AppConfig):
    name = "contexts.payments"
    label = "payments"

    def ready(self) -> None:
        from contexts.payments import handlers, providers

        for provider in settings.PAYMENT_PROVIDERS:  # one that does not exist fails here, not with a customer
            providers.find(provider)
