"""How often a sign-in may be tried: counted in the database, before the password is looked at.

One atomic upsert a subject, committed by itself, so that a burst of parallel attempts gets as many different counts as
it has attempts, and no more of them than the limit are evaluated. A sign-in that succeeds gives its attempt back: what
stays counted is failure.
"""

from datetime import timedelta
from ipaddress import ip_network

from shop.database import changed, rows
from shop.errors import TooManyRequests
from shop.idempotency import keyed_hash

WINDOW = timedelta(minutes=5)
LIMITS = {"address": 300, "account": 10}  # an address may be a whole office, or the gateway in front of us

Subjects = dict[str, str]

_COUNT = """
INSERT INTO users_signinattempts AS known (subject, began_at, count) VALUES (%(subject)s, now(), 1)
ON CONFLICT (subject) DO UPDATE SET
    count = CASE WHEN known.began_at > now() - %(window)s THEN known.count + 1 ELSE 1 END,
    began_at = CASE WHEN known.began_at > now() - %(window)s THEN known.began_at ELSE now() END
RETURNING count, ceil(extract(epoch FROM began_at + %(window)s - now()))::int"""


def subjects(*, account: str, address: str) -> Subjects:
    """What an attempt counts against. The address goes first: one that is over its limit locks no more accounts."""
    named = {"address": _network(address), "account": account} if address else {"account": account}
    return {kind: keyed_hash(f"sign-in {kind} {name}".encode()) for kind, name in named.items()}


def _network(address: str) -> str:
    """An IPv4 address; of IPv6 the /64, which is one customer's."""
    try:
        return str(ip_network((address, 64 if ":" in address else 32), strict=False))
    except ValueError:
        return address


def count(tried: Subjects) -> None:
    """Count one attempt. Raises TooManyRequests above the limit."""
    for kind, subject in tried.items():
        [(number, seconds)] = rows("users", _COUNT, {"subject": subject, "window": WINDOW})
        if number > LIMITS[kind]:
            raise TooManyRequests(retry_after=max(1, seconds))


def give_back(tried: Subjects) -> None:
    """The attempt was none: the password was right."""
    for subject in tried.values():
        changed(
            "users", "UPDATE users_signinattempts SET count = count - 1 WHERE subject = %s AND count > 0", [subject]
        )


def forget() -> int:
    """Forget windows that are over. Returns how many."""
    return changed("users", "DELETE FROM users_signinattempts WHERE began_at < now() - %s", [WINDOW])
