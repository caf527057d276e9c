"""Settings of inventory."""

from shop.http.quotas import read_rate_limit

RATE_LIMIT_SEARCH = read_rate_limit("RATE_LIMIT_SEARCH", "address:600/minute")  # searches of products by words
