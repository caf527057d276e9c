"""Settings of inventory."""

from shop.http.quotas import read_rate_limit

# Rate limit of searches of products by words (docs/rate-limits.md).
RATE_LIMIT_SEARCH = read_rate_limit("RATE_LIMIT_SEARCH", "address:600/minute")
