"""Settings of orders."""

from string import Formatter

from django.core.exceptions import ImproperlyConfigured

from shop.http.quotas import HOLD_KEYS, read_limits, read_rate_limit
from shop.setting_types import parse_url
from shop.settings import env, read_number, read_setting, read_whole_number

LINK_EXAMPLE = {"site": "https://shop.example", "id": "1", "number": "1", "token": "1"}


def read_link_template(name: str, default: str) -> str:
    """Return the template of links to an order. Raises ValueError if it is not a URL with a token."""
    template = str(env.str(name, default=default))
    fields = {field for _, field, *_ in Formatter().parse(template) if field is not None}
    if unknown := fields - set(LINK_EXAMPLE):
        raise ValueError(f"it has unknown placeholders: {', '.join(sorted(unknown))}")
    if "token" not in fields or not fields & {"id", "number"}:
        raise ValueError("it needs the placeholders {token} and {id} or {number}")
    if not template.startswith(("http://", "https://", "{site}/")):
        raise ValueError("it has to begin with http://, https:// or {site}/")
    parse_url(template.format(**LINK_EXAMPLE), ("http", "https"))
    return template


# How long a checkout may wait for its payment, once the customer has acted on it.
RESERVATION_HOLD_SECONDS = read_number("RESERVATION_HOLD_SECONDS", 900, most=365 * 86_400)
# How long a checkout waits for the customer to act on the payment, such as to approve it at the bank.
UNPAID_HOLD_SECONDS = read_number("UNPAID_HOLD_SECONDS", 300, most=365 * 86_400)
# How many orders may hold stock while they wait for their payment (docs/rate-limits.md): for each client address, account,
# e-mail address and postal address of a recipient.
HOLD_LIMIT_ORDERS = read_limits("HOLD_LIMIT_ORDERS", HOLD_KEYS, "address:50,account:10,email:10,recipient:25")
# How many units these orders may hold.
HOLD_LIMIT_UNITS = read_limits("HOLD_LIMIT_UNITS", HOLD_KEYS, "address:1000,account:200,email:200,recipient:500")
# How long an order whose capture was refused keeps its stock.
ON_HOLD_SECONDS = read_number("ON_HOLD_SECONDS", 72 * 3600, most=365 * 86_400)
# Seconds after placing in which a customer can cancel a confirmed order; 0: never. Staff can later, too.
CANCEL_WINDOW = read_number("CANCEL_WINDOW", 3600, least=0, most=3_650 * 86_400)
# Link to an order in its e-mails: the page of a storefront, as in https://shop.example/orders/{number}#token={token}. {site} is
# SITE_URL; the default shows the order as JSON.
ORDER_LINK_TEMPLATE = read_setting("ORDER_LINK_TEMPLATE", read_link_template, "{site}/api/v1/orders/{id}?token={token}")

# How many checkouts may wait for a thread of a process. Further ones are refused with 503 and Retry-After.
CHECKOUT_QUEUE = read_whole_number("CHECKOUT_QUEUE", 16, least=0, most=10_000)
# Requests that run a checkout: placing an order, and paying it again.
CHECKOUT_PATHS = ("/api/v1/orders(/[^/]+/payment)?",)

# Rate limit of new orders (docs/rate-limits.md). Many customers can share an address: an office, a mobile network.
RATE_LIMIT_ORDERS = read_rate_limit("RATE_LIMIT_ORDERS", "address:300/minute,account:60/hour,email:40/hour")
# Rate limit of orders with more than 20 lines, refused ones as well: each takes up to 200 KB in the database.
RATE_LIMIT_LARGE_ORDERS = read_rate_limit("RATE_LIMIT_LARGE_ORDERS", "address:60/hour,account:60/hour,email:30/hour")
# Rate limit of declined payments. The next attempt is refused before the provider is called.
RATE_LIMIT_DECLINED_PAYMENTS = read_rate_limit(
    "RATE_LIMIT_DECLINED_PAYMENTS", "address:30/10minutes,account:10/hour,email:10/hour,card:30/10minutes"
)
# Rate limit of new carts.
RATE_LIMIT_CARTS = read_rate_limit("RATE_LIMIT_CARTS", "address:300/minute,account:120/minute")
# Rate limit of requests for the link to a guest's order, each of which can send a mail.
RATE_LIMIT_LOOKUP = read_rate_limit("RATE_LIMIT_LOOKUP", "address:30/minute,email:5/hour")

# How long a cart is kept after its last change. Orders do not need it any more.
CART_RETENTION_DAYS = read_number("CART_RETENTION_DAYS", 90, least=1, most=3_650)
# How long a cart is kept that nothing was ever put into.
UNUSED_CART_RETENTION_DAYS = read_number("UNUSED_CART_RETENTION_DAYS", 7, least=1, most=3_650)

# How long an order is kept that was refused at once, because there was not enough stock. At least as long as its events.
REFUSED_ORDER_RETENTION_DAYS = read_number("REFUSED_ORDER_RETENTION_DAYS", 30, least=1, most=3_650)

# Limits of carts and orders. The OpenAPI document shows them.

# The highest quantity of one SKU in a cart or an order.
MAX_ITEM_QUANTITY = read_whole_number("MAX_ITEM_QUANTITY", 10_000, most=1_000_000)
# The highest number of SKUs in a cart; at most MAX_ORDER_LINES, because a full cart could not be ordered.
MAX_CART_ITEMS = read_whole_number("MAX_CART_ITEMS", 200, most=10_000)
# The highest number of lines of an order.
MAX_ORDER_LINES = read_whole_number("MAX_ORDER_LINES", 1_000, most=10_000)
if MAX_CART_ITEMS > MAX_ORDER_LINES:
    limits = f"MAX_CART_ITEMS is {MAX_CART_ITEMS} and MAX_ORDER_LINES is {MAX_ORDER_LINES}"
    raise ImproperlyConfigured(f"{limits}: a full cart could not be ordered")
