"""Purchases during which the database server crashes once, while the process lives on."""

import time
from pathlib import Path
from typing import Any

from django.db import close_old_connections, connections

from shop import chaos
from shop.chaos import faults
from tests.chaos.crashing_server import FINISH_TIMEOUT_SECONDS, CrashingServer, is_main_thread, pass_time
from tests.chaos.experiment import Experiment, FaultInjection, list_injections
from tests.chaos.expiry import expire
from tests.chaos.final_states import find_finished, order_ids_by_email
from tests.chaos.flows import STOCK, Purchase, SteppedEngine, send_requests
from tests.concurrency import run_in_thread
from tests.factories import create_sku

FLOW_NAMES = ("buy", "cancel", "cancel_before_capture", "decline", "timeout", "expiry")


def record_points(folder: Path) -> list[FaultInjection]:
    """Run each flow without a fault, and return a crash at each point that it passes."""
    injections = []
    for flow in FLOW_NAMES:
        file, purchase = folder / flow, Purchase.of(flow, create_sku(STOCK))
        faults.arm("", record=str(file))
        send_requests(purchase)
        with file.open("a") as passed:
            passed.write("engine\n")
        assert SteppedEngine().run_until_finished(purchase), f"{flow} does not finish"
        faults.disarm()
        injections += list_injections(flow, file.read_text().split(), action="crash")
    return injections


class CrashExperiment(Experiment):
    """Crash the server at the points of the purchases, and finish each one before the next."""

    def __init__(self, server: CrashingServer, mail_server: Any, injections: list[FaultInjection]) -> None:
        super().__init__(server, mail_server, injections)  # type: ignore[arg-type]  # it runs in this process
        self.crashing = server

    def run(self) -> None:
        for injection, purchase in zip(self.injections, self.purchases, strict=True):
            self.outcomes.append(self._buy(injection, purchase))
            self._finish(purchase)
            self._repeat_until_final(purchase)

    def _buy(self, injection: FaultInjection, purchase: Purchase) -> dict[str, Any]:
        crashes_before = len(self.crashing.losses)
        self._arm(injection)
        answers = send_requests(purchase)
        engine = SteppedEngine()
        deadline = time.monotonic() + FINISH_TIMEOUT_SECONDS
        if purchase.definition.expires:
            expire([purchase.email])
        while len(self.crashing.losses) == crashes_before and time.monotonic() < deadline:
            if not engine.run_once():
                close_old_connections()
        chaos.on_point_reached = None
        return {"answers": answers, "is_hit": len(self.crashing.losses) > crashes_before, "at": time.time()}

    def _arm(self, injection: FaultInjection) -> None:
        passed = 0

        def crash_at_point(point: str) -> None:
            nonlocal passed
            if point == injection.point and is_main_thread():
                passed += 1
                if passed == injection.nth:
                    self.crashing.crash()
                    run_in_thread(self._work_as_another_worker)

        chaos.on_point_reached = crash_at_point

    def _work_as_another_worker(self) -> None:
        """Do what is due after the crash, before the worker that remembers the time before it continues."""
        pass_time()
        for _ in range(2):
            SteppedEngine().run_once()

    def _finish(self, purchase: Purchase) -> None:
        deadline = time.monotonic() + FINISH_TIMEOUT_SECONDS
        while True:
            if purchase.definition.expires:
                expire([purchase.email])
            pass_time()
            SteppedEngine().run_once()
            connections.close_all()
            has_order = any(order_ids_by_email([purchase.email]).values())
            if not has_order or find_finished([purchase.email]):
                return
            assert time.monotonic() < deadline, f"not finished: {self._describe_injections([purchase.email])}"

    def _repeat_until_final(self, purchase: Purchase) -> None:
        """Repeat the requests of the customer until the responses are those of a run without a fault."""
        deadline = time.monotonic() + FINISH_TIMEOUT_SECONDS
        while tuple(answers := send_requests(purchase)) != purchase.definition.answers:
            assert time.monotonic() < deadline, f"{answers}: {self._describe_injections([purchase.email])}"
            self._finish(purchase)
        self._finish(purchase)
