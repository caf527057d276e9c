"""Settings of payments."""

from shop.setting_types import read_names
from shop.settings import env, read_number, read_setting

# Payment providers that customers can choose, separated by commas. sandbox takes no money.
PAYMENT_PROVIDERS = tuple(read_setting("PAYMENT_PROVIDERS", read_names, ["sandbox"]))
# Allow sandbox although SITE_URL is https, for a demonstration: a customer who sends tok_ok pays nothing.
ALLOW_SANDBOX_PAYMENTS = read_setting("ALLOW_SANDBOX_PAYMENTS", env.bool, False)
# How long a payment provider may take for a response.
PROVIDER_TIMEOUT_SECONDS = read_number("PROVIDER_TIMEOUT_SECONDS", 5, most=300)
# Time until a payment with an unknown outcome is first looked up at its provider; later delays grow.
RECONCILE_SECONDS = read_number("RECONCILE_SECONDS", 2, most=3_600)
# Settled payments are compared with their provider after 1, 2, 4, … times this interval, so that a refund,
# a dispute or a capture that the shop did not request becomes known without a notification. Refused captures and
# refunds are tried again at the same times.
PAYMENT_CHECK_SECONDS = read_number("PAYMENT_CHECK_SECONDS", 3600, most=30 * 86_400)
# For how many days settled payments are compared with their provider.
PAYMENT_CHECK_DAYS = read_number("PAYMENT_CHECK_DAYS", 120, most=3_650)
