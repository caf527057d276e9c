"""Settings of inventory."""

from shop.http.quotas import read_rate_limit
from shop.settings import env, read_setting

# Rate limit of searches of products by words (docs/rate-limits.md).
RATE_LIMIT_SEARCH = read_rate_limit("RATE_LIMIT_SEARCH", "address:600/minute")

# Answer repeated requests for lists and pages of products before Django does, with the same bytes. false: Django answers all.
CATALOGUE_FAST_PATH = read_setting("CATALOGUE_FAST_PATH", env.bool, True)
