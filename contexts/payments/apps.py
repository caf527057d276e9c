from django.conf import settings

from shop.contexts import ContextConfig


class PaymentsConfig(ContextConfig):
    name = "contexts.payments"

    def ready(self) -> None:
        super().ready()
        from contexts.payments import providers

        for provider in settings.PAYMENT_PROVIDERS:  # an unknown provider fails at start, not at a customer's payment
            providers.find(provider)
