"""The demo: customers at work, a bar that shows how far they are, and a table of what happened."""

import argparse
import http.client
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TextIO

from config.demo.client import Client, NoShop, WrongAnswer
from config.demo.stories import DECK, Customer, Placed, detail

SITE = "http://127.0.0.1:8000"
PATIENCE = 30.0  # seconds until an order that waits for its payment has to be settled
PAGES = 5  # of the catalogue, a hundred products each
BAR = 30  # characters
NO_ANSWER = (OSError, http.client.HTTPException)


def number(least: int, most: int) -> Any:
    """An argparse type."""

    def read(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text} is not a number from {least} to {most}")
        return int(text)

    return read


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--orders", type=number(1, 1_000_000), default=100, metavar="N", help="how many (100)")
    parser.add_argument("--url", default=SITE, help=f"where the shop is ({SITE})")
    parser.add_argument("--clients", type=number(1, 256), default=4, metavar="N", help="customers at a time (4)")
    parser.add_argument("--seed", type=int, default=1, help="which customers come in which order (1)")


@dataclass
class Happened:
    """What the customers met with."""

    placed: list[Placed] = field(default_factory=list)
    outcomes: Counter = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="manage.py demo", description="Place orders in a running shop over HTTP.")
    add_arguments(parser)
    return demo(**vars(parser.parse_args(arguments)))


def demo(*, orders: int, url: str, clients: int, seed: int, out: TextIO | None = None, err: TextIO | None = None) -> int:
    """Place orders and tell what happened. Returns the exit status: 1 if the shop is not there or answered wrongly."""
    out, err = out or sys.stdout, err or sys.stderr
    url = url.rstrip("/")
    happened = Happened()
    try:
        skus = for_sale(url)
        print(f"{orders} orders by {clients} customers at a time, at {url}", file=out, flush=True)
        with progress(orders, out) as step:
            shop_until_done(happened, orders, clients, seed, url, skus, step)
        settle(happened, Client(url))
    except NoShop as error:
        print(error, file=err)
        return 1
    except KeyboardInterrupt:
        happened.wrong.append("It was interrupted.")
    report(happened, url, out)
    for text, often in Counter(happened.wrong).most_common(5):
        print(f"{text}{f' ({often} times)' if often > 1 else ''}", file=err)
    return 1 if happened.wrong else 0


def for_sale(url: str) -> list[str]:
    """SKUs that can be bought. Raises NoShop."""
    client, path = Client(url), "products?in_stock=true&page_size=100"
    found: list[str] = []
    try:
        for _ in range(PAGES):
            status, page = client.send("GET", path)
            if status != 200 or not isinstance(page, dict) or "results" not in page:
                raise NoShop(f"What answers at {url} is no Satsuma: GET /api/v1/products said {status}.")
            found += [v["sku"] for product in page["results"] for v in product["variants"] if v["available"] > 10]
            if not page["next"]:
                break
            path = "products?" + page["next"].partition("?")[2]
    except NO_ANSWER as error:
        raise NoShop(f"No shop answers at {url} ({_why(error)}). Start one with `make up`, or name it with --url.") from None
    finally:
        client.close()
    if not found:
        raise NoShop(f"The shop at {url} has nothing left to sell. Receive stock in {url}/admin/, then come again.")
    return found


def _why(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__).rstrip(".")


def shop_until_done(
    happened: Happened, orders: int, clients: int, seed: int, url: str, skus: list[str], step: Any
) -> None:
    """Let the customers in; they share out the stories between them."""
    chance = random.Random(seed)
    deal = iter([story for _ in range(0, orders, len(DECK)) for story in chance.sample(DECK, len(DECK))][:orders])
    lock = threading.Lock()

    def work(number: int) -> None:
        customer = Customer(Client(url), skus, random.Random(f"{seed} {number}"))
        while True:
            with lock:
                story = next(deal, None)
            if story is None:
                return customer.client.close()
            result = tried(story.act, customer, story)
            with lock:
                (happened.wrong if isinstance(result, str) else happened.placed).append(result)
                step()

    began = time.monotonic()
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(work, range(clients)))
    happened.seconds = time.monotonic() - began


def tried(act: Any, *arguments: Any) -> Any:
    """What an act came to, or a sentence on what went wrong."""
    try:
        return act(*arguments)
    except WrongAnswer as error:
        return str(error)
    except NO_ANSWER as error:
        return f"The shop gave no answer ({_why(error)})."
    except (KeyError, TypeError, ValueError) as error:
        return f"The shop answered something else than it documents ({error!r})."


def settle(happened: Happened, client: Client) -> None:
    """Wait for what is not final yet, and count how every order ended."""
    looker = Customer(client, [], random.Random())
    deadline = time.monotonic() + PATIENCE
    for placed in happened.placed:
        outcome = tried(ending, looker, placed, deadline)
        if outcome in placed.story.ends:
            happened.outcomes[placed.story.name, outcome] += 1
        else:
            happened.wrong.append(f"An order of the story '{placed.story.name}' ended as: {outcome}")


def ending(looker: Customer, placed: Placed, deadline: float) -> str:
    """The order's end in a word or two."""
    if placed.status == 402:
        return "declined"
    if placed.status == 409:
        return "out of stock" if placed.answer["code"] == "inventory.out_of_stock" else detail(placed.answer)
    status = str(placed.answer["status"])
    while status not in placed.story.ends and time.monotonic() < deadline:
        time.sleep(0.1)
        status = {"rejected": "declined"}.get(looked := looker.settled(placed), looked)
    return status


@contextmanager
def progress(total: int, out: TextIO) -> Iterator[Any]:
    """A bar on a terminal; elsewhere a line for each tenth, without control codes."""
    done, live = 0, out.isatty()

    def step() -> None:
        nonlocal done
        done += 1
        if live:
            filled = BAR * done // total
            print(f"\r  [{'#' * filled}{'.' * (BAR - filled)}] {done}/{total}", end="", file=out, flush=True)
        elif done * 10 // total > (done - 1) * 10 // total:
            print(f"  {done} of {total}", file=out, flush=True)

    try:
        yield step
    finally:
        if live:
            print(file=out)


def report(happened: Happened, url: str, out: TextIO) -> None:
    """What happened, how quickly, and where to look at it."""
    lines = ["", *(f"  {often:>6}  {end:<14} {story}" for (story, end), often in sorted(happened.outcomes.items()))]
    if happened.placed and happened.seconds:
        took = sorted(placed.seconds * 1000 for placed in happened.placed)
        p50, p95 = (took[min(len(took) - 1, len(took) * part // 100)] for part in (50, 95))
        rate = len(took) / happened.seconds
        lines += ["", f"{len(took)} orders in {happened.seconds:.1f} s: {rate:.1f} orders/s, "
                  f"placing one took {p50:.0f} ms (p50), {p95:.0f} ms (p95)"]  # fmt: skip
    last = next((placed.answer["number"] for placed in reversed(happened.placed) if placed.accepted), "")
    lines += ["", f"Look at them: {url}/admin/orders/order/{f' (the last is {last})' if last else ''}",
              f"API docs:     {url}/api/docs/"]  # fmt: skip
    print("\n".join(lines), file=out, flush=True)
