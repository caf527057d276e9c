"""Throttling of sign-in attempts: growing delays for one client, never a lock of an account.

Three counters, each counted before the password is checked, so that a burst of parallel guesses is bounded too:

- an account from one client address: after SIGN_IN_FREE_ATTEMPTS wrong passwords each further one doubles the delay before
  the next attempt, up to SIGN_IN_MAX_DELAY_SECONDS. Other clients of the account are not delayed.
- an account from all addresses: from MAX_ATTEMPTS_ON_ACCOUNT wrong passwords on, each client gets one free attempt
  instead of several. The right password from a client that has made no mistake is always accepted.
- an address over all accounts: the rate limit RATE_LIMIT_SIGN_IN.

Customers and staff are counted apart: attempts at the public API do not delay a sign-in to the admin. Unknown accounts are
counted like known ones. A correct password removes what its attempt has counted.
"""

import math
from typing import Literal

from django.conf import settings

from contexts.users.models import ATTEMPT_RETENTION
from shop.db.database import execute, fetch_rows
from shop.errors import TooManyRequests
from shop.http.proxies import find_network
from shop.http.rate_limits import Limiter
from shop.keyed_hashes import compute_keyed_hashes

Entrance = Literal["public", "staff"]
SIGN_IN = "sign_in"  # the rate limit
SIGN_IN_DELAY = "sign_in_delay"  # the name of the delay in the RateLimit headers

MAX_ATTEMPTS_ON_ACCOUNT = 100

# Seconds before the next attempt is allowed. The exponent is bounded because 2 to a large power overflows.
_DELAY_SQL = """
CASE WHEN pair.count < %(free)s THEN 0
     ELSE least(%(max_delay)s, power(2, least(pair.count - %(free)s, 30))) END * interval '1 second'"""

# What was counted under a former SECRET_KEY delays, too, and continues under the present one.
_COUNT_PAIR_SQL = f"""
INSERT INTO users_signinattempts AS pair (subject, began_at, count)
SELECT %(pair)s, clock_timestamp(), 1 + coalesce(max(pair.count), 0)
FROM (SELECT count, began_at + {_DELAY_SQL} AS ends_at FROM users_signinattempts AS pair
      WHERE subject = ANY(%(former_pairs)s) AND began_at > now() - %(retention)s) AS pair
HAVING coalesce(max(pair.ends_at) <= clock_timestamp(), true)
ON CONFLICT (subject) DO UPDATE SET
    count = CASE WHEN pair.began_at > now() - %(retention)s THEN pair.count + 1 ELSE 1 END,
    began_at = clock_timestamp()
WHERE pair.began_at + {_DELAY_SQL} <= clock_timestamp()
RETURNING count"""

_FIND_DELAY_SQL = f"""
SELECT extract(epoch FROM began_at + {_DELAY_SQL} - clock_timestamp())::float, extract(epoch FROM {_DELAY_SQL})::float
FROM users_signinattempts AS pair WHERE subject = ANY(%(pairs)s) ORDER BY 1 DESC"""

_FIND_ACCOUNT_SQL = """
SELECT coalesce(sum(count), 0)::int FROM users_signinattempts
WHERE subject = ANY(%(accounts)s) AND began_at > now() - %(retention)s"""

_COUNT_ACCOUNT_SQL = """
INSERT INTO users_signinattempts AS known (subject, began_at, count) VALUES (%(account)s, now(), 1)
ON CONFLICT (subject) DO UPDATE SET
    count = CASE WHEN known.began_at > now() - %(retention)s THEN known.count + 1 ELSE 1 END, began_at = now()"""


class SignInThrottle:
    """The counters of one sign-in attempt."""

    def __init__(self, *, account: str, address: str, entrance: Entrance) -> None:
        """account: canonical e-mail address. address: the client's IP address; IPv6 counts by network."""
        network = find_network(address)
        self.pairs = build_subjects(entrance, "client", f"{network} {account}")
        self.accounts = build_subjects(entrance, "account", account)
        self.pair, self.account = self.pairs[0], self.accounts[0]
        self.limiter = Limiter("users", [], {"address": f"{entrance} {network}"} if network else {}, [SIGN_IN])

    def count(self) -> None:
        """Count an attempt before its password is checked. Raises TooManyRequests while it is delayed.

        The address comes first, so that an address over its limit does not count for further accounts.
        """
        self.limiter.count()
        try:
            self._count_pair()
        except TooManyRequests:
            self.limiter.release()
            raise
        execute("users", _COUNT_ACCOUNT_SQL, {"account": self.account, "retention": ATTEMPT_RETENTION})

    def _count_pair(self) -> None:
        parameters = {
            "pair": self.pair,
            "pairs": self.pairs,
            "former_pairs": self.pairs[1:],
            "accounts": self.accounts,
            "retention": ATTEMPT_RETENTION,
            "max_delay": settings.SIGN_IN_MAX_DELAY_SECONDS,
        }
        [(attempts,)] = fetch_rows("users", _FIND_ACCOUNT_SQL, parameters)
        parameters["free"] = 1 if attempts >= MAX_ATTEMPTS_ON_ACCOUNT else settings.SIGN_IN_FREE_ATTEMPTS
        if not fetch_rows("users", _COUNT_PAIR_SQL, parameters):
            raise _build_refusal(fetch_rows("users", _FIND_DELAY_SQL, parameters))

    def fail(self) -> None:
        """Count the attempt as failed, because its password was wrong."""
        self.limiter.fail()

    def forget(self) -> None:
        """Remove what the attempt has counted, because its password was correct."""
        self.limiter.release()
        execute("users", "DELETE FROM users_signinattempts WHERE subject = ANY(%s)", [self.pairs])
        execute(
            "users",
            "UPDATE users_signinattempts SET count = count - 1 WHERE subject = %s AND count > 0",
            [self.account],
        )

    def withdraw(self) -> None:
        """Remove this attempt only, because its password was not checked."""
        self.limiter.release()
        execute(
            "users",
            "UPDATE users_signinattempts SET count = count - 1 WHERE subject = ANY(%s) AND count > 0",
            [sorted([self.pair, self.account])],
        )


def _build_refusal(delays: list[tuple[float, float]]) -> TooManyRequests:
    """Build the refusal of an attempt during its delay. delays: what is left of it and all of it, in seconds."""
    left, delay = (max(1, math.ceil(seconds)) for seconds in (delays[0] if delays else (0, 0)))
    headers = {
        "RateLimit-Policy": f'"{SIGN_IN_DELAY}";q=1;w={delay}',
        "RateLimit": f'"{SIGN_IN_DELAY}";r=0;t={left}',
    }
    return TooManyRequests(retry_after=left).with_headers(headers)


def build_subjects(entrance: Entrance, kind: str, name: str) -> list[str]:
    """Return the keyed hashes under which attempts are counted, and were before SECRET_KEY was changed."""
    return compute_keyed_hashes(f"sign-in {entrance} {kind} {name}".encode())
