"""The shop in five processes, any of which can be killed at any point: a fork server for each, and the order of things."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.conf import settings

from tests.chaos import aftermath
from tests.chaos.flows import PATIENCE, Purchase
from tests.chaos.forkserver import ForkServer
from tests.config.trees import free_port

MAIN = "import django; django.setup(); from tests.chaos import host; host.serve()"
ROUND = ("inventory", "payments", "users", "orders", "notifications")  # the order in which they get their turns


class SplitServer:
    """Does with five processes what a ForkServer does with one. A point says whose: orders/orders.commit.after."""

    def __init__(self, **environment: str) -> None:
        urls = {f"{context.upper()}_URL": f"http://127.0.0.1:{free_port()}" for context in settings.ALL_CONTEXTS}
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
        """Let somebody buy, and then everybody be the engine, turn by turn, until all rests or who is to be struck is dead."""
        struck, _, rule = chaos.partition("/")
        for context, host in self.hosts.items():
            file = f"{record}-{context}" if record else ""
            host.ask(do="begin", chaos=rule if context == struck else "", record=file)
            host.ask(do="by_hand")
        answers = self.order(purchase)
        for context in self.hosts if record else ():
            with Path(f"{record}-{context}").open("a") as file:
                file.write("engine\n")
        rest = self._settle(purchase, struck)
        was_struck = bool(struck) and self.hosts[struck].ask(do="struck")
        signals = {context: host.ask(do="end") for context, host in self.hosts.items()}
        return {
            "signal": signals.get(struck, 0), "at": time.time(), "answers": answers, "rest": rest, "struck": was_struck,
        }  # fmt: skip

    def _settle(self, purchase: Purchase, struck: str) -> bool:
        """Whether all came to rest. Once somebody is struck, what then has to be waited for is for others."""
        if purchase.way.hold < PATIENCE:
            time.sleep(purchase.way.hold)  # else it is chance who notices first that the time is over
        deadline = time.monotonic() + PATIENCE
        while not struck or self.hosts[struck].ask(do="ready"):
            if sum(self.hosts[context].ask(do="turn") or 0 for context in ROUND):
                continue
            if (rest := bool(aftermath.at_rest([purchase.email]))) or time.monotonic() > deadline:
                return rest
            if struck and self.hosts[struck].ask(do="struck"):
                return False
        return False

    def order(self, purchase: Purchase) -> list[int]:
        """The customer's requests. No answer where the process of orders dies of them."""
        return self.hosts["orders"].ask(do="order", purchase=asdict(purchase)) or []

    def survivor(self, without: str = "") -> int:
        """Five processes with a whole engine each, until they are killed."""
        for host in self.hosts.values():
            host.ask(do="begin", chaos="", record="")
        for host in self.hosts.values():  # all of them answer by now
            host.ask(do="engine")
        return 0

    def kill(self, pid: int) -> None:
        for host in self.hosts.values():
            host.ask(do="end")

    def stop(self) -> None:
        for host in self.hosts.values():
            host.stop()
