"""Count requests by a rate limit in many threads, also in a process of its own, which prints how many were accepted."""

import sys

from shop.errors import TooManyRequests
from shop.http.rate_limits import Limiter
from tests.concurrency import repeat_concurrently

# Its arguments: context, limit, address, number of threads, number of requests of each thread.
MAIN = "import django; django.setup(); from tests.shop.http import count_requests; count_requests.main()"


def count(context: str, limit: str, address: str, threads: int, requests: int) -> int:
    """Send the requests of all threads at once, and return how many were accepted."""

    def send(_: int) -> int:
        return sum(_is_accepted(context, limit, address) for _ in range(requests))

    return sum(repeat_concurrently(threads, send))


def _is_accepted(context: str, limit: str, address: str) -> bool:
    try:
        Limiter(context, [limit], {"address": address}).count()
    except TooManyRequests:
        return False
    return True


def main() -> None:
    """Count what the command line asks for."""
    print(count(*sys.argv[1:4], *map(int, sys.argv[4:])))
