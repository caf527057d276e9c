"""Outcomes of the customers' orders: wait until each has one that its scenario allows, and count them."""

import http.client
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from ops.demo.client import RateLimited, UnexpectedResponse
from ops.demo.scenarios import OUT_OF_STOCK, PlacedOrder, describe_problem

SETTLE_TIMEOUT_SECONDS = 30.0  # how long the shop may settle none of the remaining orders
POLL_INTERVAL_SECONDS = 0.2  # between two rounds of reading them
CONNECTION_ERRORS = (OSError, http.client.HTTPException)

T = TypeVar("T")


@dataclass
class DemoResult:
    """The outcomes of the customers' orders."""

    placed: list[PlacedOrder] = field(default_factory=list)
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)  # by scenario and outcome
    errors: list[str] = field(default_factory=list)
    rate_limited: int = 0  # customers whose order the shop refused because of a rate limit
    seconds: float = 0.0


def run_action(action: Callable[..., T], *arguments: object) -> T | str:
    """Return the result of an action, or a sentence that describes what went wrong."""
    try:
        return action(*arguments)
    except UnexpectedResponse as error:
        return str(error)
    except CONNECTION_ERRORS as error:
        return f"The shop did not respond ({describe_error(error)})."
    except (KeyError, TypeError, ValueError) as error:
        return f"The response is not what the API documents ({error!r})."


def describe_error(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__).rstrip(".")


def await_outcomes(result: DemoResult) -> None:
    """Read the orders until each has an outcome that its scenario allows, and count the outcomes.

    The time that this takes grows with the number of orders. So an order is an error only if it was still without such an
    outcome when it was read after SETTLE_TIMEOUT_SECONDS in which no order has reached its own.
    """
    open_orders, settled_at = result.placed, time.monotonic()
    while open_orders:
        round_began_at = time.monotonic()
        outcomes = [(placed, find_outcome(placed)) for placed in open_orders]
        result.outcomes.update((placed.scenario.name, text) for placed, text in outcomes if _is_expected(placed, text))
        open_outcomes = [(placed, text) for placed, text in outcomes if not _is_expected(placed, text)]
        if len(open_outcomes) < len(open_orders):
            settled_at = time.monotonic()
        elif round_began_at > settled_at + SETTLE_TIMEOUT_SECONDS:
            result.errors += [
                f"An order of the scenario '{placed.scenario.name}' has the outcome: {text}"
                for placed, text in open_outcomes
            ]
            return
        open_orders = [placed for placed, _ in open_outcomes]
        if open_orders:
            time.sleep(POLL_INTERVAL_SECONDS)


def _is_expected(placed: PlacedOrder, outcome: str) -> bool:
    return outcome in placed.scenario.expected_outcomes


def find_outcome(placed: PlacedOrder) -> str:
    """Return the present outcome of an order: that of its response, or its status if that was not final."""
    if placed.status == 402:
        return "declined"
    if placed.status == 409:
        return "out of stock" if placed.body["code"] == OUT_OF_STOCK else describe_problem(placed.body)
    if placed.body["status"] in placed.scenario.expected_outcomes:
        return str(placed.body["status"])
    try:
        order = run_action(placed.read)
    except RateLimited:
        return "unknown, because of a rate limit"
    return order if isinstance(order, str) else {"rejected": "declined"}.get(order["status"], str(order["status"]))
