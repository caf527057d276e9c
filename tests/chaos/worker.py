"""The fork server's own side, and what its children do."""

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
from config import faults
from contexts.payments import providers
from shop import leases, services
from shop.database import hosted
from shop.engine import Engine
from tests.chaos.flows import PATIENCE, ByHand, Purchase, order
from tests.shopper import InProcess


def serve() -> None:
    """Do one job after the other, until there are no more."""
    services.bind_all()
    providers.find("sandbox")
    InProcess().post("orders", {})  # refused before a database is asked, but now all that a request needs is loaded
    assert all(connections[context].connection is None for context in hosted())
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
        except BaseException:  # it must not go on as if it were the server
            traceback.print_exc()
        os._exit(0)
    os.close(writing)
    _saying[pid] = reading
    return pid


def _end(pid: int) -> dict[str, Any]:
    _, status = os.waitpid(pid, 0)
    ended = {"signal": os.WTERMSIG(status), "at": time.time()}
    with os.fdopen(_saying.pop(pid)) as said:
        return ended | json.loads(said.read() or "{}")


def _child(purchase: Purchase, chaos: str, record: str) -> dict[str, Any]:
    gc.disable()
    leases.RENEWAL = 3600.0  # it lives for less than a lease, and what it passes is not to depend on how fast it is
    rules = faults.arm(chaos, record=record)
    answers = order(purchase)
    if record:
        with open(record, "a") as file:
            file.write("engine\n")
    outage = any(rule.action != "kill" for rule in rules)  # then there may be a lease to wait for, which others do
    rest = ByHand().settle(purchase, patience=0 if outage else PATIENCE)
    return {"answers": answers, "rest": rest, "struck": all(rule.hits >= rule.nth for rule in rules)}


def _survive(without: str) -> int:
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


_saying: dict[int, int] = {}  # where each child writes its outcome
JOBS = {"buy": _buy, "begin": _begin, "end": _end, "survive": _survive, "kill": _kill}
