"""Many purchases, each struck at a point of its own; who survives carries them on; and what there is to say against it."""

import math
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.chaos import aftermath
from tests.chaos.flows import STOCK, Purchase
from tests.chaos.forkserver import ForkServer
from tests.chaos.quarantine import Quarantine
from tests.chaos.split import SplitServer
from tests.inventory.stock import product
from tests.notifications.postbox import Postbox

LIMIT = 30.0  # seconds until all has to be at rest by itself
LOOK = 0.2  # seconds between two looks at what others do, and how exact recovery times are
BATCH = 120  # purchases that one survivor has to carry on at once
SIGKILL = 9


@dataclass(frozen=True)
class Strike:
    """What happens to one purchase: a fault at the nth time that a point is reached."""

    flow: str
    point: str
    nth: int
    action: str = "kill"
    in_request: bool = True  # else in the engine
    mail_is_out: bool = False  # taken by the server, and not noted yet: the one place where a letter may go out twice

    def __str__(self) -> str:
        return f"{self.flow}: {self.point}:{self.nth}:{self.action}"


class Battle:
    """Strikes, and what became of the purchases."""

    def __init__(self, server: ForkServer | SplitServer, postbox: Postbox, strikes: Iterable[Strike]) -> None:
        self.server, self.postbox = server, postbox
        self.strikes = list(strikes)
        skus = product([STOCK] * len(self.strikes))
        self.purchases = [Purchase.of(strike.flow, sku) for strike, sku in zip(self.strikes, skus, strict=True)]
        self.outcomes: list[dict[str, Any]] = []
        self.help_came = 0.0
        self.recovered: dict[str, float] = {}  # seconds since the strike or since help came, by address

    def strike(self) -> None:
        """One after the other, with nobody else at work, so that each is struck where it is meant to be."""
        with Quarantine() as quarantine:
            for purchase, chaos in self._each():
                quarantine.hold()
                self.outcomes.append(self.server.run(purchase, chaos))
        self.help_came = time.time()

    def strike_beside_a_survivor(self) -> None:
        """With somebody at work all the while, who takes over. For strikes in a request, which meets its own rows only."""
        looked = 0.0
        for purchase, chaos in self._each():
            self.outcomes.append(self.server.run(purchase, chaos))
            if time.time() - looked > LOOK:
                looked, struck = time.time(), self._emails()[: len(self.outcomes)]
                self._look(email for email in struck if email not in self.recovered)

    def _each(self) -> Iterator[tuple[Purchase, str]]:
        for strike, purchase in zip(self.strikes, self.purchases, strict=True):
            yield purchase, f"{strike.point}:{strike.nth}:{strike.action}"

    @contextmanager
    def survivor(self, without: str = "") -> Iterator[None]:
        """Another process that does the engine's work."""
        pid = self.server.survivor(without)
        try:
            yield
        finally:
            self.server.kill(pid)

    def recover(self, limit: float = LIMIT) -> None:
        """Wait until all orders there are have come to rest. AssertionError if they do not."""
        restless = {email for email, ids in aftermath.orders_of(self._emails()).items() if ids}
        deadline = time.monotonic() + limit
        while restless := restless - self._look(restless):
            assert time.monotonic() < deadline, f"not at rest after {limit} s: {self._names(restless)}"
            time.sleep(LOOK)  # another process is at work

    def _look(self, emails: Iterable[str]) -> set[str]:
        """Who is at rest; of whom that is so for the first time, since when."""
        struck = {p.email: outcome["at"] for p, outcome in zip(self.purchases, self.outcomes, strict=False)}
        rest = aftermath.at_rest(emails)
        for email in rest:
            self.recovered.setdefault(email, time.time() - max(struck[email], self.help_came))
        return rest

    def _emails(self) -> list[str]:
        return [purchase.email for purchase in self.purchases]

    def _names(self, emails: Iterable[str]) -> list[str]:
        return [str(s) for s, p in zip(self.strikes, self.purchases, strict=True) if p.email in set(emails)]

    def insist(self) -> None:
        """Each customer repeats the requests until the answers are those of an undisturbed shop."""
        waiting, deadline = dict(zip(self.strikes, self.purchases, strict=True)), time.monotonic() + LIMIT
        while waiting:
            answers = {strike: tuple(self.server.order(purchase)) for strike, purchase in waiting.items()}
            waiting = {
                strike: purchase for strike, purchase in waiting.items() if answers[strike] != purchase.way.answers
            }
            assert time.monotonic() < deadline, f"answered otherwise: {[f'{s} {answers[s]}' for s in waiting]}"
            time.sleep(0.1 if waiting else 0)  # until the time to pay is over, or another process has finished

    def complaints(self) -> list[str]:
        """All that is not as it has to be."""
        said = [f"{strike}: {what}" for strike, what in self._about_processes()]
        emails, skus = self._emails(), [purchase.sku for purchase in self.purchases]
        fates, shelves = aftermath.fates(emails), aftermath.shelves(skus)
        keys, mails = aftermath.keys(purchase.key for purchase in self.purchases), self._mails()
        for strike, purchase in zip(self.strikes, self.purchases, strict=True):
            ended = fates[purchase.email]
            if len(ended) != 1 or ended[0] not in purchase.way.fates:
                said.append(f"{strike}: ended as {ended}")
            on_hand = STOCK - purchase.way.one_breaks + (ended[0].moved if ended else 0)
            if shelves[purchase.sku] != (on_hand, 0, on_hand):
                said.append(f"{strike}: on the shelf are {shelves[purchase.sku]}")
            if keys[purchase.key] != 1:
                said.append(f"{strike}: {keys[purchase.key]} rows for its key")
            letters = mails[purchase.email]
            if (
                len(letters) != len(purchase.way.fates[0].mails)
                or sum(letters.values()) > len(letters) + strike.mail_is_out
            ):
                said.append(f"{strike}: letters arrived as {letters}")
        return said

    def _about_processes(self) -> Iterator[tuple[Strike, str]]:
        for strike, outcome in zip(self.strikes, self.outcomes, strict=True):
            struck = outcome["signal"] == SIGKILL if strike.action == "kill" else outcome.get("struck")
            if not struck:
                yield strike, f"was not reached ({outcome})"
            if any(status >= 500 and status != 503 for status in outcome.get("answers", ())):
                yield strike, f"answered {outcome['answers']}"

    def _mails(self) -> dict[str, Counter]:
        """How often each letter arrived, by address."""
        found: dict[str, Counter] = {email: Counter() for email in self._emails()}
        for mail in self.postbox.mails:
            if mail["To"] in found:
                found[mail["To"]][mail["Message-ID"]] += 1
        return found


def fought(server, postbox, strikes, survivor_is_there=False) -> list[float]:
    """How long the orders took to recover, in seconds. AssertionError for whatever is wrong afterwards."""
    battle = Battle(server, postbox, strikes)
    if not survivor_is_there:
        battle.strike()
    with battle.survivor():
        if survivor_is_there:
            battle.strike_beside_a_survivor()
        battle.recover()
        seconds = list(battle.recovered.values())
        battle.insist()
        battle.recover()
    complaints = battle.complaints()
    assert not complaints, "\n".join(complaints)
    return seconds


def in_batches(server, postbox, strikes) -> list[float]:
    batches = [strikes[first : first + BATCH] for first in range(0, len(strikes), BATCH)]
    return [seconds for batch in batches for seconds in fought(server, postbox, batch)]


def percentiles(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    at = {share: ordered[math.ceil(share * len(ordered)) - 1] for share in (0.5, 0.99, 1)}
    return f"recovery p50 {at[0.5]:.1f} s, p99 {at[0.99]:.1f} s, max {at[1]:.1f} s"
