"""Find variables whose names are close to those of settings: a misspelt setting has no effect."""

import re
from collections.abc import Collection, Iterable, Iterator
from difflib import get_close_matches

# Variables with these prefixes are ours, even if no setting has a similar name.
OWN_PREFIXES = ("SATSUMA_", "EMAIL_", "JWT_", "CORS_", "RATE_LIMIT_", "SECURE_HSTS_")
# Prefixes that other projects put before the names of settings.
FOREIGN_PREFIX = re.compile(r"(SATSUMA|DJANGO|SHOP|APP)_")
# Kubernetes describes each service in the namespace by such variables, whatever its name.
_SERVICE_LINK = re.compile(r".*_(SERVICE_(HOST|PORT)(_.*)?|PORT(_[0-9]+_(TCP|UDP)(_.*)?)?)")
MIN_SIMILARITY, MIN_SIMILARITY_OF_OWN = 0.86, 0.6


def find_misspelt_names(environment: Iterable[str], known: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield the variables that look like misspelt settings, each with the known name that is probably meant, if any."""
    for name in sorted(set(environment) - set(known)):
        bare = FOREIGN_PREFIX.sub("", name.upper(), count=1)
        is_ours = name.startswith(OWN_PREFIXES)
        if _SERVICE_LINK.fullmatch(name) or not (name.isupper() or bare in known):
            continue
        similar = get_close_matches(bare, known, n=1, cutoff=MIN_SIMILARITY_OF_OWN if is_ours else MIN_SIMILARITY)
        if similar or is_ours:
            yield name, similar[0] if similar else ""
