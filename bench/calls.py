"""What a call through a bound interface costs beside a plain one: `python -m bench.calls` prints it in microseconds."""

import json
import sys
import time
import timeit
from collections.abc import Callable
from typing import Protocol

from shop import services
from shop.services import DTO, read, service

CALLS = 2_000
REPEATS = 40
SKUS = ("B-000001-0", "B-000002-1", "B-000003-2")


class Offer(DTO):
    """What one unit of a SKU costs."""

    sku: str
    amount: int
    available: int


class Shelf(Protocol):
    """An interface like those of the contexts."""

    @read
    def offers(self, *, skus: tuple[str, ...]) -> tuple[Offer, ...]:
        """The offers for these SKUs."""


class LocalShelf(Shelf):
    def offers(self, *, skus: tuple[str, ...]) -> tuple[Offer, ...]:
        return tuple(Offer(sku=sku, amount=1999, available=7) for sku in skus)


shelf: Shelf = service("shelf", Shelf)


def batch(call: Callable[[], object]) -> float:
    """Microseconds of this thread's CPU for one call, from one batch of them."""
    return 1e6 * timeit.timeit(call, number=CALLS, timer=time.thread_time) / CALLS


def ways() -> dict[str, Callable[[], object]]:
    """The same question, put plainly and through each transport."""
    found: dict[str, Callable[[], object]] = {"plain": LocalShelf().offers}
    for transport in services.TRANSPORTS:
        services.configure({"shelf": f"{__name__}.LocalShelf"}, transport)
        found[transport] = shelf.offers
    return found


def main() -> int:
    asked = ways()
    if any(way(skus=SKUS) != asked["plain"](skus=SKUS) for way in asked.values()):  # type: ignore[call-arg]
        raise AssertionError("a transport answers something else")
    batches = [{name: batch(lambda way=way: way(skus=SKUS)) for name, way in asked.items()} for _ in range(REPEATS)]
    print(json.dumps({name: min(one[name] for one in batches) for name in asked}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
