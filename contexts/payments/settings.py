"""Settings of payments."""

from shop.settings import env, read_positive_number, read_setting

PAYMENT_PROVIDERS = tuple(read_setting("PAYMENT_PROVIDERS", env.list, ["sandbox"]))
PROVIDER_TIMEOUT_SECONDS = read_positive_number("PROVIDER_TIMEOUT_SECONDS", 5)
# The delay before the provider is first asked about a payment with an unknown outcome; later delays grow.
RECONCILE_SECONDS = read_positive_number("RECONCILE_SECONDS", 2)
# Settled payments are compared with their provider for this long, after 1, 2, 4, … times the interval, so that a refund,
# a dispute or a capture that the shop did not request becomes known without a notification. Refused captures and
# refunds are tried again at the same times.
PAYMENT_CHECK_SECONDS = read_positive_number("PAYMENT_CHECK_SECONDS", 3600)
PAYMENT_CHECK_DAYS = read_positive_number("PAYMENT_CHECK_DAYS", 120)
