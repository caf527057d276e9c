"""Settings of payments."""

from shop.settings import env, read_positive_number, read_setting

PAYMENT_PROVIDERS = tuple(read_setting("PAYMENT_PROVIDERS", env.list, ["sandbox"]))
PROVIDER_TIMEOUT_SECONDS = read_positive_number("PROVIDER_TIMEOUT_SECONDS", 5)
# The delay before the provider is first asked about a payment with an unknown outcome; later delays grow.
RECONCILE_SECONDS = read_positive_number("RECONCILE_SECONDS", 2)
