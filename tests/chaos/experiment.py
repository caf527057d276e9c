"""Inject one fault into each of many purchases, let another process recover them, and check the final states."""

import math
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.chaos import final_states
from tests.chaos.expiry import expire
from tests.chaos.flows import STOCK, Purchase
from tests.chaos.forkserver import ForkServer
from tests.chaos.row_locks import UnfinishedRowLocks
from tests.chaos.split_server import SplitServer
from tests.factories import create_product
from tests.mail_server import FakeMailServer

RECOVERY_TIMEOUT_SECONDS = 180.0  # for all purchases of a batch
POLL_INTERVAL_SECONDS = 0.2  # also the precision of the recovery times
BATCH_SIZE = 120  # purchases that one engine process recovers at once
SIGKILL = 9


@dataclass(frozen=True)
class FaultInjection:
    """A fault in one purchase: an action at the nth time that a point is reached."""

    flow: str
    point: str
    nth: int
    action: str = "kill"
    in_request: bool = True  # else in the engine
    # The server has accepted a message, and that is not stored yet: the only place where a message may be sent twice.
    may_duplicate_mail: bool = False

    def __str__(self) -> str:
        return f"{self.flow}: {self.point}:{self.nth}:{self.action}"


def list_injections(flow: str, passed: list[str], action: str = "kill") -> list[FaultInjection]:
    """Return a fault at each point that a run has passed; "engine" stands between the requests and the engine."""
    times, injections, mail_is_out = Counter[str](), [], False
    engine = passed.index("engine")
    for position, point in enumerate(passed):
        if position != engine:
            times[point] += 1
            # A worker that outlives the crash sends what it has begun, though another one has taken it over: SMTP has no fence.
            is_begun = action == "crash" and passed[position + 1 : position + 2] == ["smtp.send.before"]
            is_recorded = point == "notifications.commit.after"
            mail_is_out = point == "smtp.send.after" or is_begun or (mail_is_out and not is_recorded)
            in_request = position < engine
            injections.append(FaultInjection(flow, point, times[point], action, in_request, mail_is_out))
    return injections


class Experiment:
    """Fault injections, the purchases in which they happen, and the outcomes."""

    def __init__(
        self, server: ForkServer | SplitServer, mail_server: FakeMailServer, injections: Iterable[FaultInjection]
    ) -> None:
        self.server, self.mail_server = server, mail_server
        self.injections = list(injections)
        skus = create_product([STOCK] * len(self.injections))
        self.purchases = [Purchase.of(one.flow, sku) for one, sku in zip(self.injections, skus, strict=True)]
        self.outcomes: list[dict[str, Any]] = []
        self.recovery_started_at = 0.0
        self.recovered: dict[str, float] = {}  # by email: seconds since the fault, or since the engine process started

    def inject_faults(self) -> None:
        """Inject the faults one after the other, with no other process at work, so that each point is reached as recorded."""
        with UnfinishedRowLocks() as locks:
            for purchase, chaos in self._iter_purchases():
                locks.lock_unfinished()
                self.outcomes.append(self.server.run(purchase, chaos))
        self.recovery_started_at = time.time()

    def inject_beside_running_engine(self) -> None:
        """Inject the faults while an engine process runs. For faults in a request, which touches only rows of its own order."""
        polled_at = 0.0
        for purchase, chaos in self._iter_purchases():
            self.outcomes.append(self.server.run(purchase, chaos))
            if time.time() - polled_at > POLL_INTERVAL_SECONDS:
                polled_at, emails = time.time(), self._emails()[: len(self.outcomes)]
                self._update_recovered(email for email in emails if email not in self.recovered)

    def _iter_purchases(self) -> Iterator[tuple[Purchase, str]]:
        for injection, purchase in zip(self.injections, self.purchases, strict=True):
            yield purchase, f"{injection.point}:{injection.nth}:{injection.action}"

    @contextmanager
    def run_engine_process(self, without: str = "") -> Iterator[None]:
        """Run another process with an engine. without: the name of a timer that it leaves out."""
        pid = self.server.run_engine_process(without)
        try:
            yield
        finally:
            self.server.kill(pid)

    def recover(self, limit: float = RECOVERY_TIMEOUT_SECONDS) -> None:
        """Wait until all orders are finished. AssertionError if they are not after `limit` seconds."""
        unfinished = {email for email, ids in final_states.order_ids_by_email(self._emails()).items() if ids}
        deadline = time.monotonic() + limit
        self._expire()
        while unfinished := unfinished - self._update_recovered(unfinished):
            assert time.monotonic() < deadline, f"not finished after {limit} s: {self._describe_injections(unfinished)}"
            time.sleep(POLL_INTERVAL_SECONDS)  # another process is at work

    def _expire(self) -> None:
        expire(purchase.email for purchase in self.purchases if purchase.definition.expires)

    def _update_recovered(self, emails: Iterable[str]) -> set[str]:
        """Return the addresses whose orders are finished, and record how long the newly finished ones took."""
        failed_at = {p.email: outcome["at"] for p, outcome in zip(self.purchases, self.outcomes, strict=False)}
        finished = final_states.find_finished(emails)
        for email in finished:
            self.recovered.setdefault(email, time.time() - max(failed_at[email], self.recovery_started_at))
        return finished

    def _emails(self) -> list[str]:
        return [purchase.email for purchase in self.purchases]

    def _describe_injections(self, emails: Iterable[str]) -> list[str]:
        pairs = zip(self.injections, self.purchases, strict=True)
        return [str(injection) for injection, purchase in pairs if purchase.email in set(emails)]

    def repeat_requests_until_final(self) -> None:
        """Repeat the requests of each customer until the responses are those of a run without a fault."""
        waiting = dict(zip(self.injections, self.purchases, strict=True))
        deadline = time.monotonic() + RECOVERY_TIMEOUT_SECONDS
        while waiting:
            answers = {injection: tuple(self.server.order(purchase)) for injection, purchase in waiting.items()}
            waiting = {
                injection: purchase
                for injection, purchase in waiting.items()
                if answers[injection] != purchase.definition.answers
            }
            self._expire()
            assert time.monotonic() < deadline, (
                f"other responses than expected: {[f'{i} {answers[i]}' for i in waiting]}"
            )
            time.sleep(0.1 if waiting else 0)  # until the time to pay is over, or another process has finished

    def find_problems(self) -> list[str]:
        """Return a description of everything that is wrong with the final states."""
        problems = [f"{injection}: {problem}" for injection, problem in self._find_process_problems()]
        emails, skus = self._emails(), [purchase.sku for purchase in self.purchases]
        states, stock = final_states.load_final_states(emails), final_states.load_stock(skus)
        keys, mails = final_states.count_idempotency_keys(purchase.key for purchase in self.purchases), self._mails()
        for injection, purchase in zip(self.injections, self.purchases, strict=True):
            final = states[purchase.email]
            if len(final) != 1 or final[0] not in purchase.definition.final_states:
                problems.append(f"{injection}: the final states are {final}")
            on_hand = STOCK - purchase.definition.loses_a_unit + (final[0].moved if final else 0)
            if stock[purchase.sku] != (on_hand, 0, on_hand):
                problems.append(f"{injection}: the stock is {stock[purchase.sku]}")
            if keys[purchase.key] != 1:
                problems.append(f"{injection}: {keys[purchase.key]} rows for its key")
            received, written = mails[purchase.email], final[0].mails if final else ()
            if len(received) != len(written) or sum(received.values()) > len(received) + injection.may_duplicate_mail:
                problems.append(f"{injection}: mails were received as {received}")
        return problems

    def _find_process_problems(self) -> Iterator[tuple[FaultInjection, str]]:
        for injection, outcome in zip(self.injections, self.outcomes, strict=True):
            is_hit = outcome["signal"] == SIGKILL if injection.action == "kill" else outcome.get("is_hit")
            if not is_hit:
                yield injection, f"was not reached ({outcome})"
            if any(status >= 500 and status != 503 for status in outcome.get("answers", ())):
                yield injection, f"answered {outcome['answers']}"

    def _mails(self) -> dict[str, Counter]:
        """Count how often each message was received, by email address."""
        found: dict[str, Counter] = {email: Counter() for email in self._emails()}
        for mail in self.mail_server.mails:
            if mail["To"] in found:
                found[mail["To"]][mail["Message-ID"]] += 1
        return found


def run_experiment(server, mail_server, injections, engine_is_running=False) -> list[float]:
    """Return how long the orders took to recover, in seconds. AssertionError if a final state is wrong."""
    experiment = Experiment(server, mail_server, injections)
    if not engine_is_running:
        experiment.inject_faults()
    with experiment.run_engine_process():
        if engine_is_running:
            experiment.inject_beside_running_engine()
        experiment.recover()
        seconds = list(experiment.recovered.values())
        experiment.repeat_requests_until_final()
        experiment.recover()
    problems = experiment.find_problems()
    assert not problems, "\n".join(problems)
    return seconds


def run_in_batches(server, mail_server, injections) -> list[float]:
    """Run one experiment for each BATCH_SIZE of the injections."""
    batches = [injections[first : first + BATCH_SIZE] for first in range(0, len(injections), BATCH_SIZE)]
    return [seconds for batch in batches for seconds in run_experiment(server, mail_server, batch)]


def percentiles(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    at = {share: ordered[math.ceil(share * len(ordered)) - 1] for share in (0.5, 0.99, 1)}
    return f"recovery p50 {at[0.5]:.1f} s, p99 {at[0.99]:.1f} s, max {at[1]:.1f} s"
