"""Throttling of sign-in attempts. Attempts are counted in the database before the password is checked.

Each subject is counted by one atomic upsert that commits on its own. In a burst of parallel attempts each one gets a
different count, so the number of checked passwords never exceeds the limit. A successful sign-in removes its attempt, so
only failures stay counted.
"""

from datetime import timedelta
from ipaddress import ip_network

from shop.db.database import execute, fetch_rows
from shop.errors import TooManyRequests
from shop.http.idempotency import compute_keyed_hash

ATTEMPT_WINDOW = timedelta(minutes=5)
# Per window. Many clients can share one address: an office, or the gateway in front of the shop.
MAX_ATTEMPTS_BY_KIND = {"address": 300, "account": 10}

ThrottleKeys = dict[str, str]  # kind of the subject to its keyed hash

_COUNT_ATTEMPT_SQL = """
INSERT INTO users_signinattempts AS known (subject, began_at, count) VALUES (%(subject)s, now(), 1)
ON CONFLICT (subject) DO UPDATE SET
    count = CASE WHEN known.began_at > now() - %(window)s THEN known.count + 1 ELSE 1 END,
    began_at = CASE WHEN known.began_at > now() - %(window)s THEN known.began_at ELSE now() END
RETURNING count, ceil(extract(epoch FROM began_at + %(window)s - now()))::int"""


def build_throttle_keys(*, account: str, address: str) -> ThrottleKeys:
    """Return the subjects that an attempt is counted for.

    The address comes first, so that an address over its limit cannot lock further accounts.
    """
    subjects = {"address": _to_network(address), "account": account} if address else {"account": account}
    return {kind: compute_keyed_hash(f"sign-in {kind} {name}".encode()) for kind, name in subjects.items()}


def _to_network(address: str) -> str:
    """Return an IPv4 address as it is, and for IPv6 the /64 network, which belongs to one customer."""
    try:
        return str(ip_network((address, 64 if ":" in address else 32), strict=False))
    except ValueError:
        return address


def count_attempt(keys: ThrottleKeys) -> None:
    """Count an attempt. Raises TooManyRequests above the limit."""
    for kind, subject in keys.items():
        [(count, seconds)] = fetch_rows("users", _COUNT_ATTEMPT_SQL, {"subject": subject, "window": ATTEMPT_WINDOW})
        if count > MAX_ATTEMPTS_BY_KIND[kind]:
            raise TooManyRequests(retry_after=max(1, seconds))


def remove_attempt(keys: ThrottleKeys) -> None:
    """Remove a counted attempt, because its password was correct."""
    for subject in keys.values():
        execute(
            "users", "UPDATE users_signinattempts SET count = count - 1 WHERE subject = %s AND count > 0", [subject]
        )


def delete_expired_windows() -> int:
    """Delete expired attempt counters. Returns their number."""
    return execute("users", "DELETE FROM users_signinattempts WHERE began_at < now() - %s", [ATTEMPT_WINDOW])
