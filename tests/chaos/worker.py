"""The jobs of the fork server, and what its children do."""

import gc
import json
import os
import signal
import sys
import time
import traceback
from typing import Any

from django.db import connections

import config.urls  # noqa: F401  everything that a child would have to import
from contexts.payments import providers
from shop.calls import services
from shop.chaos import faults
from shop.db import leases
from shop.db.database import hosted_contexts
from shop.messaging.engine import Engine
from tests.chaos.flows import FLOW_TIMEOUT_SECONDS, Purchase, SteppedEngine, send_requests
from tests.shopper import InProcessShopper


def serve() -> None:
    """Do one job after the other, until there are no more."""
    services.bind_all()
    providers.find("sandbox")
    InProcessShopper().post("orders", {})  # refused before any query, but loads everything that a request needs
    assert all(connections[context].connection is None for context in hosted_contexts())
    gc.collect()
    gc.freeze()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # logs go to standard output
    print(json.dumps("ready"), file=answers, flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        print(json.dumps(JOBS[job.pop("do")](**job)), file=answers, flush=True)


def _buy(**job: Any) -> dict[str, Any]:
    return _end(_begin(**job))


def _begin(purchase: dict[str, str], chaos: str, record: str) -> int:
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.write(writing, json.dumps(_child(Purchase(**purchase), chaos, record)).encode())
        except BaseException:  # it must not continue as if it were the server
            traceback.print_exc()
        os._exit(0)
    os.close(writing)
    _outcome_pipes[pid] = reading
    return pid


def _end(pid: int) -> dict[str, Any]:
    _, status = os.waitpid(pid, 0)
    ended = {"signal": os.WTERMSIG(status), "at": time.time()}
    with os.fdopen(_outcome_pipes.pop(pid)) as outcome:
        return ended | json.loads(outcome.read() or "{}")


def _child(purchase: Purchase, chaos: str, record: str) -> dict[str, Any]:
    gc.disable()
    leases.RENEWAL_INTERVAL_SECONDS = 3600.0  # the points that are reached must not depend on how fast the machine is
    rules = faults.arm(chaos, record=record)
    answers = send_requests(purchase)
    if record:
        with open(record, "a") as file:
            file.write("engine\n")
    outage = any(
        rule.action != "kill" for rule in rules
    )  # then a lease may have to expire first: the engine process waits for it
    is_finished = SteppedEngine().run_until_finished(purchase, timeout=0 if outage else FLOW_TIMEOUT_SECONDS)
    return {"answers": answers, "is_finished": is_finished, "is_hit": all(rule.hits >= rule.nth for rule in rules)}


def _run_engine(without: str) -> int:
    pid = os.fork()
    if not pid:
        engine = Engine()
        engine.timers = [timer for timer in engine.timers if timer.name != without]
        engine.start()
        while True:
            signal.pause()
    return pid


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


_outcome_pipes: dict[int, int] = {}  # where each child writes its outcome
JOBS = {"buy": _buy, "begin": _begin, "end": _end, "run_engine": _run_engine, "kill": _kill}
