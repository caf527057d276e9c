"""Run the demo: let customers place orders, show the progress, and print a table of the outcomes."""

import argparse
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from ops.demo.client import Client, RateLimited, ShopUnavailable
from ops.demo.outcomes import CONNECTION_ERRORS, DemoResult, await_outcomes, describe_error, run_action
from ops.demo.scenarios import SCENARIOS, Customer, PlacedOrder, Scenario
from ops.launch.data_folder import get_data_folder, read_address
from shop.text import format_count

DEFAULT_URL = "http://127.0.0.1:8000"
MAX_CATALOGUE_PAGES = 5  # of 100 products each
MIN_AVAILABLE_UNITS = 10  # SKUs with this or less are not ordered
BAR_WIDTH_CHARACTERS = 30


class Output(Protocol):
    """A text stream: sys.stdout, or the one of a management command."""

    def write(self, text: str, /) -> object: ...
    def flush(self) -> object: ...
    def isatty(self) -> bool: ...


@dataclass(frozen=True)
class DemoOptions:
    """The orders to place, and the address of the shop."""

    orders: int
    url: str
    clients: int
    seed: int


def integer_between(minimum: int, maximum: int) -> Callable[[str], int]:
    """Return an argparse type for whole numbers in a range."""

    def parse(text: str) -> int:
        if not text.isdecimal() or not minimum <= int(text) <= maximum:
            raise argparse.ArgumentTypeError(f"{text} is not a number from {minimum} to {maximum}")
        return int(text)

    return parse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    count = integer_between(1, 1_000_000)
    parser.add_argument(
        "--orders", type=count, default=100, metavar="N", help="number of orders (default: %(default)s)"
    )
    parser.add_argument(
        "--url", help=f"address of the shop (default: the one that `make up` started, or else {DEFAULT_URL})"
    )
    parser.add_argument(
        "--clients", type=integer_between(1, 256), default=4, metavar="N",
        help="number of customers at the same time (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--seed", type=int, default=1, help="the same seed gives the same customers and carts (default: %(default)s)"
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="manage.py demo", description="Place orders in a running shop over HTTP.")
    add_arguments(parser)
    return run_demo(**vars(parser.parse_args(arguments)))


def run_demo(
    *, orders: int, url: str | None, clients: int, seed: int, out: Output | None = None, err: Output | None = None
) -> int:
    """Place orders and print the outcomes. Returns the exit status: 1 after an outage or an unexpected outcome."""
    out, err = out or sys.stdout, err or sys.stderr
    try:
        options = DemoOptions(orders, find_site_url(url), clients, seed)
        skus = find_available_skus(options.url)
    except ShopUnavailable as error:
        _write_line(err, str(error))
        return 1
    result = _run_customers(options, skus, out)
    print_report(result, options.url, out)
    for text, count in Counter(result.errors).most_common(5):
        _write_line(err, f"{text}{f' ({count} times)' if count > 1 else ''}")
    return 1 if result.errors else 0


def _run_customers(options: DemoOptions, skus: list[str], out: Output) -> DemoResult:
    result = DemoResult()
    try:
        customers = format_count(options.clients, "customer")
        _write_line(out, f"{format_count(options.orders, 'order')} by {customers} at a time, at {options.url}")
        with show_progress(options.orders, out) as step:
            place_orders(result, options, skus, step)
        await_outcomes(result)
    except KeyboardInterrupt:
        result.errors.append("The demo was interrupted.")
    finally:
        for customer in {placed.customer for placed in result.placed}:
            customer.client.close()
    return result


def _write_line(output: Output, text: str = "") -> None:
    output.write(f"{text}\n")
    output.flush()


def find_site_url(url: str | None) -> str:
    """Return the address of the shop: the given one, the one that `make up` started, or the default.

    Raises ShopUnavailable, with what to do, if no shop answers at an address that was not given.
    """
    if url:
        return url.rstrip("/")
    recorded = read_address()
    site_url = recorded or DEFAULT_URL
    client = Client(site_url)
    try:
        client.send("GET", "/health")
    except CONNECTION_ERRORS as error:
        launcher = f"`make up` with its data in {get_data_folder()}"
        state = f"{launcher} has ended:" if recorded else f"{launcher} is not running, and"
        raise ShopUnavailable(
            f"No shop found: {state} nothing answers at {site_url} ({describe_error(error)}). "
            "Start one with `make up`, or give its address with --url."
        ) from None
    finally:
        client.close()
    return site_url


def find_available_skus(url: str) -> list[str]:
    """Find SKUs with enough stock. Raises ShopUnavailable, also if the address is not that of a shop."""
    client, path = Client(url), "products?in_stock=true&page_size=100"
    found: list[str] = []
    try:
        for _ in range(MAX_CATALOGUE_PAGES):
            status, page = client.send("GET", path)
            if status != 200 or not isinstance(page, dict) or "results" not in page:
                raise ShopUnavailable(f"The server at {url} is not Satsuma: GET /api/v1/products returned {status}.")
            variants = [variant for product in page["results"] for variant in product["variants"]]
            found += [variant["sku"] for variant in variants if variant["available"] > MIN_AVAILABLE_UNITS]
            if not page["next"]:
                break
            path = "products?" + page["next"].partition("?")[2]
    except CONNECTION_ERRORS as error:
        raise ShopUnavailable(
            f"No shop answers at {url} ({describe_error(error)}). Start one with `make up`, or give its address with --url."
        ) from None
    finally:
        client.close()
    if not found:
        raise ShopUnavailable(
            f"The shop at {url} has nothing left in stock. Receive stock in {url}/admin/, then run the demo again."
        )
    return found


def place_orders(result: DemoResult, options: DemoOptions, skus: list[str], step: Callable[[], None]) -> None:
    """Run the customers, who share the scenarios between them, and collect their orders; `step` counts each one."""
    scenarios = iter(_choose_scenarios(options.orders, random.Random(options.seed)))
    lock = threading.Lock()

    def run_customer(number: int) -> None:
        customer = Customer(Client(options.url), skus, random.Random(f"{options.seed} {number}"))
        while True:
            with lock:
                scenario = next(scenarios, None)
            if scenario is None:
                return customer.client.close()
            placed = _run_scenario(scenario, customer)
            with lock:
                _count(result, placed)
                step()

    started_at = time.monotonic()
    with ThreadPoolExecutor(options.clients) as pool:
        list(pool.map(run_customer, range(options.clients)))
    result.seconds = time.monotonic() - started_at


def _run_scenario(scenario: Scenario, customer: Customer) -> PlacedOrder | str | None:
    try:
        return run_action(scenario.run, customer, scenario)
    except RateLimited:
        return None


def _count(result: DemoResult, placed: PlacedOrder | str | None) -> None:
    if placed is None:
        result.rate_limited += 1
    elif isinstance(placed, str):
        result.errors.append(placed)
    else:
        result.placed.append(placed)


def _choose_scenarios(count: int, rng: random.Random) -> list[Scenario]:
    """Shuffle all scenarios again and again, so that each one comes once in twenty orders."""
    rounds = [rng.sample(SCENARIOS, len(SCENARIOS)) for _ in range(0, count, len(SCENARIOS))]
    return [scenario for scenarios in rounds for scenario in scenarios][:count]


@contextmanager
def show_progress(total: int, out: Output) -> Iterator[Callable[[], None]]:
    """Show a bar on a terminal, elsewhere a line for each tenth. Yields a function that counts one order."""
    done, is_terminal = 0, out.isatty()

    def step() -> None:
        nonlocal done
        done += 1
        if is_terminal:
            filled = BAR_WIDTH_CHARACTERS * done // total
            out.write(f"\r  [{'#' * filled}{'.' * (BAR_WIDTH_CHARACTERS - filled)}] {done}/{total}")
            out.flush()
        elif done * 10 // total > (done - 1) * 10 // total:
            _write_line(out, f"  {done} of {total}")

    try:
        yield step
    finally:
        if is_terminal:
            _write_line(out)


def print_report(result: DemoResult, url: str, out: Output) -> None:
    """Print the outcomes, how long placing an order took, and where to see the orders."""
    lines = [""]
    for (scenario, outcome), count in sorted(result.outcomes.items()):
        lines.append(f"  {count:>6}  {outcome:<14} {scenario}")
    if result.rate_limited:
        lines.append(
            f"  {result.rate_limited:>6}  refused by a rate limit; RATE_LIMITS=false switches off the rate limits of a shop"
        )
    times = sorted(placed.seconds * 1000 for placed in result.placed if placed.seconds is not None)
    if times and result.seconds:
        p50, p95 = (times[min(len(times) - 1, len(times) * percent // 100)] for percent in (50, 95))
        rate = len(times) / result.seconds
        lines.append(
            f"\n{format_count(len(times), 'order')} in {result.seconds:.1f} s: {rate:.1f} orders/s, "
            f"placing one took {p50:.0f} ms (p50), {p95:.0f} ms (p95)"
        )
    last = next((placed.body["number"] for placed in reversed(result.placed) if placed.is_accepted), "")
    lines.append(f"\nOrders:   {url}/admin/orders/order/{f' (the last one is {last})' if last else ''}")
    lines.append(f"API docs: {url}/api/docs/")
    _write_line(out, "\n".join(lines))
