"""The shop in five processes, each of which can be killed at any point: a fork server for each context."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.conf import settings

from tests.chaos import final_states
from tests.chaos.expiry import expire
from tests.chaos.flows import FLOW_TIMEOUT_SECONDS, Purchase
from tests.chaos.forkserver import ForkServer
from tests.context_map import list_callees_first
from tests.ports import reserve_port

MAIN = "import django; django.setup(); from tests.chaos import split_host; split_host.serve()"
TURN_ORDER = list_callees_first()  # the order in which the engines run


class SplitServer:
    """A ForkServer with five processes. Points are prefixed with the process: orders/orders.commit.after."""

    def __init__(self, **environment: str) -> None:
        urls = {f"{context.upper()}_URL": f"http://127.0.0.1:{reserve_port()}" for context in settings.ALL_CONTEXTS}
        self.hosts: dict[str, ForkServer] = {}
        try:
            for context in settings.ALL_CONTEXTS:
                self.hosts[context] = ForkServer(MAIN, ready=False, **urls, **environment, CONTEXTS=context)
            for host in self.hosts.values():
                host.await_ready()
        except BaseException:
            self.stop()
            raise

    def run(self, purchase: Purchase, chaos: str = "", record: str = "") -> dict[str, Any]:
        """Send the requests of a purchase, then run the engines in turn until no work is left or the fault has happened."""
        target, _, rule = chaos.partition("/")
        for context, host in self.hosts.items():
            file = f"{record}-{context}" if record else ""
            host.ask(do="begin", chaos=rule if context == target else "", record=file)
            host.ask(do="disable_lease_renewal")
        answers = self.order(purchase)
        for context in self.hosts if record else ():
            with Path(f"{record}-{context}").open("a") as file:
                file.write("engine\n")
        is_finished = self._run_until_finished(purchase, target)
        is_hit = bool(target) and self.hosts[target].ask(do="is_hit")
        signals = {context: host.ask(do="end") for context, host in self.hosts.items()}
        return {
            "signal": signals.get(target, 0), "at": time.time(), "answers": answers, "is_finished": is_finished,
            "is_hit": is_hit,
        }  # fmt: skip

    def _run_until_finished(self, purchase: Purchase, target: str) -> bool:
        """Return whether no work is left. After the fault, the rest is left to an engine process."""
        if purchase.definition.expires:
            expire([purchase.email])
        deadline = time.monotonic() + FLOW_TIMEOUT_SECONDS
        while not target or self.hosts[target].ask(do="ready"):
            if sum(self.hosts[context].ask(do="run_once") or 0 for context in TURN_ORDER):
                continue
            if (is_finished := bool(final_states.find_finished([purchase.email]))) or time.monotonic() > deadline:
                return is_finished
            if target and self.hosts[target].ask(do="is_hit"):
                return False
        return False

    def order(self, purchase: Purchase) -> list[int]:
        """Send the requests of the customer. No status is returned if the process of orders dies of them."""
        return self.hosts["orders"].ask(do="order", purchase=asdict(purchase)) or []

    def run_engine_process(self, without: str = "") -> int:
        """Start an engine in each of the five processes, until they are killed."""
        for host in self.hosts.values():
            host.ask(do="begin", chaos="", record="")
        for host in self.hosts.values():  # all of them serve calls by now
            host.ask(do="engine")
        return 0

    def kill(self, pid: int) -> None:
        for host in self.hosts.values():
            host.ask(do="end")

    def stop(self) -> None:
        for host in self.hosts.values():
            host.stop()
